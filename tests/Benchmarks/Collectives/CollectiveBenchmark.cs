using System.Globalization;
using System.Net;
using Cluster.Benchmarks.Kernels;
using Cluster.Kernels.Collectives;

namespace Cluster.Benchmarks.Collectives;

/// <summary>
/// The <c>collectives</c> command: two ranks of a process group against what two raw loopback sockets do with as many bytes in the same
/// run. Prints a Markdown table. Argument: rounds (default 15).
/// </summary>
internal static class CollectiveBenchmark
{
    private static readonly int[] Sizes = [8 << 10, 64 << 10, 1 << 20, 16 << 20];

    public static async Task RunAsync(string[] arguments)
    {
        int rounds = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : 15;
        using TcpMesh first = Listen(), second = Listen();
        var spec = new TcpGroupSpec("benchmark", 1, new byte[32], [first.EndPoint, second.EndPoint]);
        IProcessGroup[] sockets = await Task.WhenAll(first.JoinAsync(spec, 0), second.JoinAsync(spec, 1));
        using var tcp = new RankPair(sockets);
        using var local = new RankPair(ProcessGroups.CreateLocal(2, 1, ProcessGroupOptions.Default));
        using var raw = new RawSockets(Sizes[^1]);
        Console.WriteLine($"Two ranks, medians of up to {rounds} alternating slices; us for a message (or as many bytes as an all-reduce sends) there and back\n");
        Console.WriteLine("| bytes | raw ping-pong | send/receive | ratio | raw, as many bytes | Tcp all-reduce | ratio | Local all-reduce |\n|---|---|---|---|---|---|---|---|");
        foreach (int bytes in Sizes)
            Console.WriteLine(Row(bytes, rounds, tcp, local, raw));
    }

    // An all-reduce in slices is two exchanges of half the bytes each way; a short one is one exchange of all of them.
    private static string Row(int bytes, int rounds, RankPair tcp, RankPair local, RawSockets raw)
    {
        int exchanges = bytes <= 64 << 10 ? 1 : 2;
        var slices = new Slices(2);
        string rawPing = slices.Add("raw", () => raw.PingPong(bytes));
        string ping = slices.Add("send", () => tcp.PingPong(bytes));
        string rawExchange = slices.Add("exchange", () => raw.Exchange(bytes / exchanges, exchanges));
        string reduce = slices.Add("reduce", () => tcp.AllReduce(bytes));
        string localReduce = slices.Add("local", () => local.AllReduce(bytes));
        slices.Run(rounds);
        const double PerOperation = 1e6 / RankPair.Batch;
        double a = slices.Median(rawPing) * PerOperation, b = slices.Median(ping) * PerOperation, c = slices.Median(rawExchange) * PerOperation, d = slices.Median(reduce) * PerOperation;
        return string.Create(CultureInfo.InvariantCulture,
            $"| {bytes} | {a:F1} | {b:F1} | {b / a:F2} | {c:F1} | {d:F1} | {d / c:F2} | {slices.Median(localReduce) * PerOperation:F1} |");
    }

    private static TcpMesh Listen() => TcpMesh.Listen(new IPEndPoint(IPAddress.Loopback, 0), TcpMeshOptions.Default);
}
