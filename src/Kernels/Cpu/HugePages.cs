using System.Runtime.InteropServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Asks Linux for huge pages: fewer page-table walks while weights stream through. Elsewhere it does nothing.</summary>
internal static unsafe partial class HugePages
{
    private const int MadvHugePage = 14;

    /// <summary>A hint: failure (old kernel, huge pages switched off) changes nothing but speed.</summary>
    public static void Advise(void* pointer, long bytes)
    {
        if (!OperatingSystem.IsLinux())
            return;
        try
        {
            _ = MemoryAdvise(pointer, (nuint)bytes, MadvHugePage);
        }
        catch (Exception failure) when (failure is DllNotFoundException or EntryPointNotFoundException)
        {
            // A Linux whose C library goes by another name: only the hint is lost.
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MemoryAdvise(void* address, nuint length, int advice);
}
