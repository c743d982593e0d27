using System.Runtime.InteropServices;

namespace Cluster.Kernels.Models;

/// <summary>
/// Takes pages of a read-only file mapping out of the process's resident memory once their contents are packed elsewhere. They stay
/// in the system's page cache and come back when they are read again, so this changes memory, never results. Linux only.
/// </summary>
internal static unsafe partial class MappedPages
{
    private const int MadvDontNeed = 4;

    /// <summary>Drops the pages that lie wholly inside [start, start + bytes): neighbours share the first and the last.</summary>
    public static void Drop(nint start, long bytes)
    {
        if (!OperatingSystem.IsLinux())
            return;
        nint page = Environment.SystemPageSize;
        nint first = (start + page - 1) / page * page, end = (start + (nint)bytes) / page * page;
        if (end <= first)
            return;
        try
        {
            _ = MemoryAdvise((void*)first, (nuint)(end - first), MadvDontNeed);
        }
        catch (Exception failure) when (failure is DllNotFoundException or EntryPointNotFoundException)
        {
            // A Linux whose C library goes by another name: the pages stay until memory gets scarce.
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MemoryAdvise(void* address, nuint length, int advice);
}
