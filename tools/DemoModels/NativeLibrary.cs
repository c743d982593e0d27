using Cluster.Kernels.Torch;

namespace Cluster.DemoModels;

/// <summary>Commands that compute with libtorch.</summary>
internal static class NativeLibrary
{
    private const int NotHere = 3;

    /// <summary>Runs the work, or says why libtorch does not load. Returns the process's exit code.</summary>
    public static int Run(Action work)
    {
        if (!LibTorch.TryLoad(out string reason))
        {
            Console.Error.WriteLine($"no libtorch: {reason}");
            return NotHere;
        }
        work();
        return 0;
    }
}
