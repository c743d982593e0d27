using System.Globalization;
using System.Text;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Benchmarks.Kernels;

/// <summary>
/// The <c>kernels</c> command: CPU kernels against what the same machine reads and multiplies in the same run. Prints
/// Markdown tables. Arguments: number of threads (default: all), rounds (default 25), and what to measure: <c>linear</c>,
/// <c>attention</c> or a stored type of the linear (default: all); of attention, a part of the cases' names.
/// </summary>
internal static class KernelBenchmark
{
    private static readonly DType[] LinearTypes = [DType.BFloat16, DType.Q8_0, DType.Q4_0, DType.Float32, DType.Float16];
    private static readonly int[] DecodeRows = [1, 2, 4, 5, 8, 16];

    public static void Run(string[] arguments)
    {
        int threads = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : Environment.ProcessorCount;
        int rounds = arguments.Length > 1 ? int.Parse(arguments[1], CultureInfo.InvariantCulture) : 25;
        Console.WriteLine($"CPU kernels, {threads} threads, {CpuPaths.Best}, medians of up to {rounds} alternating slices");
        string what = arguments.Length > 2 ? arguments[2] : "all";
        foreach (DType type in LinearTypes.Where(type => what is "all" or "linear" || what == type.ToString()))
            Console.WriteLine(Linear(threads, rounds, type));
        if (what is "all" or "attention")
            Console.WriteLine(AttentionTable.Run(threads, rounds, arguments.Length > 3 ? arguments[3] : ""));
    }

    private static string Linear(int threads, int rounds, DType type)
    {
        using var bench = new LinearBench(threads, type, inputs: 2048, outputs: 8192);
        using var pool = new CpuThreadPool(threads, "yardstick");
        using var yardstick = new Yardstick(pool);
        var slices = new Slices(threads);
        string read = slices.Add("read", yardstick.Read), fma = slices.Add("fma", yardstick.MultiplyAdd);
        foreach (int rows in DecodeRows)
            slices.Add($"{rows}", () => bench.Run(rows));
        string prefill = slices.Add("512", () => bench.Run(512));
        slices.Run(rounds);

        double bandwidth = Yardstick.Bytes / slices.Median(read) / 1e9, peak = yardstick.Flops / slices.Median(fma) / 1e9;
        var table = new StringBuilder();
        table.AppendLine(CultureInfo.InvariantCulture, $"\nLinear K=2048 N=8192 {type}; read {bandwidth:F1} GB/s, FMA peak {peak:F0} GFLOP/s, {slices.QuietShare:P0} of slices quiet\n");
        table.AppendLine("| rows | ms | GB/s | of read | to 1 row | GFLOP/s | of peak |\n|---|---|---|---|---|---|---|");
        foreach (string name in DecodeRows.Select(rows => $"{rows}").Append(prefill))
        {
            double seconds = slices.Median(name), gigabytes = bench.WeightBytes / seconds / 1e9;
            double gigaflops = 2.0 * int.Parse(name, CultureInfo.InvariantCulture) * 2048 * 8192 / seconds / 1e9;
            table.AppendLine(CultureInfo.InvariantCulture,
                $"| {name} | {seconds * 1e3:F2} | {gigabytes:F1} | {gigabytes / bandwidth:P0} | {seconds / slices.Median("1"):F2} | {gigaflops:F0} | {gigaflops / peak:P0} |");
        }

        return table.ToString();
    }
}
