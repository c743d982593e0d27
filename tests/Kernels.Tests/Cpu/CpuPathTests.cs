using System.Diagnostics;
using System.Runtime.InteropServices;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>Every op gives the same bits on every instruction set, also when the runtime itself is told not to use it.</summary>
public sealed class CpuPathTests
{
    private const string ExpectedPath = "CLUSTER_TEST_CPU_PATH";
    private const string ExpectedDigest = "CLUSTER_TEST_CPU_DIGEST";

    [Fact]
    public void AllPathsAndThreadCounts_GiveOneDigest()
    {
        string expected = OpsDigest.Of(CpuPath.Portable, threads: 1);
        foreach (CpuPath path in CpuBench.Paths)
        {
            foreach (int threads in (int[])[1, 2, 3])
                Assert.Equal(expected, OpsDigest.Of(path, threads));
        }
    }

    [Theory]
    [InlineData("DOTNET_EnableAVX512", nameof(CpuPath.Avx2))]
    [InlineData("DOTNET_EnableAVXVNNI", nameof(CpuPath.Avx512))]
    [InlineData("DOTNET_EnableAVX2", nameof(CpuPath.Portable))]
    [InlineData("DOTNET_EnableHWIntrinsic", nameof(CpuPath.Portable))]
    public void ProcessWithoutTheInstructions_GivesTheSameDigest(string setting, string path)
    {
        Assert.SkipUnless(RuntimeInformation.ProcessArchitecture == Architecture.X64 && CpuPaths.Best >= CpuPath.Avx2, "needs an x64 processor with AVX2");
        string program = Environment.ProcessPath!;
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
            start.ArgumentList.Add(typeof(CpuPathTests).Assembly.Location);
        foreach (string argument in (string[])["-method", $"{typeof(CpuPathTests).FullName}.{nameof(ChildProcess_HasTheExpectedDigest)}"])
            start.ArgumentList.Add(argument);
        start.Environment[setting] = "0";
        start.Environment[ExpectedPath] = path;
        start.Environment[ExpectedDigest] = OpsDigest.Of(CpuPaths.Best, threads: 2);
        using var child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Assert.True(child.ExitCode == 0 && output.Contains("Total: 1, Errors: 0, Failed: 0, Skipped: 0", StringComparison.Ordinal), output);
    }

    [Fact]
    public void ChildProcess_HasTheExpectedDigest()
    {
        string? path = Environment.GetEnvironmentVariable(ExpectedPath);
        Assert.SkipWhen(path is null, "runs in a child process of the test above");
        Assert.Equal(path, CpuPaths.Best.ToString());
        Assert.Equal(Environment.GetEnvironmentVariable(ExpectedDigest), OpsDigest.Of(CpuPaths.Best, threads: 2));
    }
}

/// <summary>A digest of what all ops give for fixed inputs.</summary>
internal static class OpsDigest
{
    private const int Rows = 11;

    public static string Of(CpuPath path, int threads)
    {
        using var bench = new CpuBench(threads, path);
        var hash = new List<float>();
        foreach (DType type in (DType[])[DType.Float32, DType.BFloat16, DType.Float16])
        {
            foreach (LinearRole role in Enum.GetValues<LinearRole>())
            {
                using LinearWeight weight = bench.Weight(CpuBench.Values(91 * 75, 1), 75, type, role);
                hash.AddRange(bench.Linear(CpuBench.Values(Rows * 91, 2), Rows, weight));
            }
        }

        foreach (DType type in (DType[])[DType.Q8_0, DType.Q4_0, DType.Q4_K])
        {
            HostTensor tensor = bench.Blocks(BlockReference.Blocks(type, 75, 512, 60), type, 75, 512);
            using LinearWeight weight = bench.Ops.LoadLinear(new LinearSource([tensor], [], LinearRole.RowParallel));
            hash.AddRange(bench.Linear(CpuBench.Values(Rows * 512, 61), Rows, weight));
        }
        AddRows(bench, hash);
        AddExperts(bench, hash);
        AddAttention(path, threads, hash);
        return Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(hash))));
    }

    private static void AddRows(CpuBench bench, List<float> hash)
    {
        // Wide enough a range for both ends of the exponential.
        float[] values = [.. CpuBench.Values(Rows * 150, 3).Select(value => value * 120)];
        using DeviceBuffer input = bench.Buffer(Rows, 150, values), narrow = bench.Buffer(Rows, 75), wide = bench.Buffer(Rows, 150, values);
        using DeviceBuffer gate = bench.Buffer(Rows, 1, CpuBench.Values(Rows, 4));
        using VectorWeight norm = bench.Ops.LoadVector(bench.Tensor(CpuBench.Values(150, 5), 1));
        bench.Ops.GatedSilu(Rows, input, narrow);
        hash.AddRange(bench.Read(narrow, Rows));
        bench.Ops.AddGated(Rows, input, gate, wide);
        hash.AddRange(bench.Read(wide, Rows));
        bench.Ops.RmsNorm(Rows, input, norm, 1e-6f, wide);
        hash.AddRange(bench.Read(wide, Rows));
    }

    private static void AddExperts(CpuBench bench, List<float> hash)
    {
        const int Experts = 6, Hidden = 40, Intermediate = 24;
        HostTensor[] Make(int rows, int columns, int seed) =>
            [.. Enumerable.Range(0, Experts).Select(e => bench.Tensor(CpuBench.Values(rows * columns, seed + e), rows, DType.BFloat16))];
        using ExpertWeights experts = bench.Ops.LoadExperts(new ExpertSource(Make(Intermediate, Hidden, 10), Make(Intermediate, Hidden, 20), Make(Hidden, Intermediate, 30)));
        using ExpertRouting routing = bench.Ops.AllocateRouting(Rows, 2);
        using DeviceBuffer logits = bench.Buffer(Rows, Experts, CpuBench.Values(Rows * Experts, 40));
        using DeviceBuffer input = bench.Buffer(Rows, Hidden, CpuBench.Values(Rows * Hidden, 41)), output = bench.Buffer(Rows, Hidden);
        bench.Ops.RouteTopK(Rows, logits, renormalise: true, routing);
        bench.Ops.ExpertMlp(Rows, input, experts, routing, output);
        hash.AddRange(bench.Read(output, Rows));
    }

    private static void AddAttention(CpuPath path, int threads, List<float> hash)
    {
        var layout = new QkvLayout(6, 2, 24);
        foreach (DType type in (DType[])[DType.BFloat16, DType.Float32, DType.Int8])
        {
            using var attention = new AttentionBench(layout, 16, type, threads, path);
            (float[] output, float[] lse) = attention.Run(CpuBench.Values(90 * layout.Width, 50), [70, 1, 19], 40);
            hash.AddRange(output);
            hash.AddRange(lse);
        }
    }
}
