using Cluster.Kernels.Torch;

namespace Cluster.Torch.Tests;

/// <summary>Skips a test, with the reason, where libtorch does not load.</summary>
internal static class Native
{
    /// <summary>Tests that make tensors run one after the other: their count and libtorch's thread count belong to the process.</summary>
    public const string Collection = "libtorch";

    public static void Require() => Assert.SkipUnless(LibTorch.TryLoad(out string reason), $"no libtorch: {reason}");
}
