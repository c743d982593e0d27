using Cluster.Kernels.Torch;

namespace Cluster.Torch.Tests;

/// <summary>Skips a test, with the reason, where libtorch does not load.</summary>
internal static class Native
{
    public static void Require() => Assert.SkipUnless(LibTorch.TryLoad(out string reason), $"no libtorch: {reason}");
}
