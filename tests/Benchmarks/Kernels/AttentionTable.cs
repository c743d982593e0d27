using System.Globalization;
using System.Text;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Benchmarks.Kernels;

/// <summary>Attention against what the machine reads, multiplies, and does in a linear of 512 rows, all in the same run.</summary>
internal static class AttentionTable
{
    private static readonly (int Sequences, int Rows, int Keys)[] Cases =
        [(1, 1, 2048), (1, 1, 8192), (1, 1, 32768), (1, 5, 8192), (32, 1, 512), (1, 512, 4096)];

    public static string Run(int threads, int rounds, string namePart)
    {
        using var pool = new CpuThreadPool(threads, "yardstick");
        using var yardstick = new Yardstick(pool);
        using var linear = new LinearBench(threads, DType.BFloat16, inputs: 2048, outputs: 2048);
        var slices = new Slices(threads);
        string read = slices.Add("read", yardstick.Read), fma = slices.Add("fma", yardstick.MultiplyAdd);
        string gemm = slices.Add("gemm", () => linear.Run(512));
        var cases = new List<AttentionBench>();
        foreach (DType type in (DType[])[DType.Float32, DType.BFloat16, DType.Int8])
        {
            cases.AddRange(Cases
                .Where(item => AttentionBench.NameOf(type, item.Sequences, item.Rows, item.Keys).Contains(namePart, StringComparison.Ordinal))
                .Select(item => new AttentionBench(threads, type, item.Sequences, item.Rows, item.Keys)));
        }

        foreach (AttentionBench bench in cases)
        {
            slices.Add(bench.Name, bench.Run);
            if (bench.IsDecode)
                slices.Add(ScanOf(bench), bench.ScanOn(pool));
        }

        slices.Run(rounds);

        double bandwidth = Yardstick.Bytes / slices.Median(read) / 1e9, peak = yardstick.Flops / slices.Median(fma) / 1e9;
        double gemmRate = 2.0 * 512 * 2048 * 2048 / slices.Median(gemm) / 1e9;
        var table = new StringBuilder();
        table.AppendLine(CultureInfo.InvariantCulture,
            $"\nAttention, 32 heads, 8 KV heads of 64, shuffled blocks of 16; read {bandwidth:F1} GB/s, FMA peak {peak:F0} GFLOP/s, linear of 512 rows {gemmRate:F0} GFLOP/s, {slices.QuietShare:P0} of slices quiet\n");
        table.AppendLine("| KV, sequences x rows x keys | ms | GB/s | of read | scan: of read | GFLOP/s | of peak | of linear |\n|---|---|---|---|---|---|---|---|");
        foreach (AttentionBench bench in cases)
        {
            double seconds = slices.Median(bench.Name), gigabytes = bench.Bytes / seconds / 1e9, gigaflops = bench.Flops / seconds / 1e9;
            string scan = bench.IsDecode ? $"{bench.Bytes / slices.Median(ScanOf(bench)) / 1e9 / bandwidth:P0}" : "";
            table.AppendLine(CultureInfo.InvariantCulture,
                $"| {bench.Name} | {seconds * 1e3:F2} | {gigabytes:F1} | {gigabytes / bandwidth:P0} | {scan} | {gigaflops:F0} | {gigaflops / peak:P0} | {gigaflops / gemmRate:P0} |");
            bench.Dispose();
        }

        return table.ToString();
    }

    private static string ScanOf(AttentionBench bench) => $"scan {bench.Name}";
}
