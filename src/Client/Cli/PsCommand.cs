using System.CommandLine;
using System.Text.Json;
using Cluster.Client;
using Cluster.Client.Transports;
using Cluster.Contracts;
using Spectre.Console;

namespace Cluster.Cli;

/// <summary><c>cluster ps</c>: silos, devices, models, replicas and their load.</summary>
internal sealed class PsCommand : Command
{
    private static readonly WireJson Json = new(new JsonSerializerOptions(WireJson.Default.Options) { WriteIndented = true });
    private readonly CliHost _host;
    private readonly ConnectionOptions _connection;
    private readonly Option<bool> _json = new("--json") { Description = "Print the topology as JSON." };
    private readonly Option<double?> _watch = new("--watch", "-w") { Description = "Print again every so many seconds (default 2) until Ctrl+C.", Arity = ArgumentArity.ZeroOrOne };

    public PsCommand(CliHost host, ConnectionOptions connection) : base("ps", "Shows the cluster.")
    {
        (_host, _connection) = (host, connection);
        Add(_json);
        Add(_watch);
        _watch.Check(seconds => seconds is null or (>= 0.1 and <= 3600), "0.1 to 3600 seconds");
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using InferenceClient client = await _connection.ConnectAsync(parsed, _host, cancellationToken);
        bool watch = parsed.GetResult(_watch) is { Implicit: false };
        TimeSpan period = TimeSpan.FromSeconds(parsed.GetValue(_watch) ?? 2);
        IAnsiConsole console = _host.Tables();
        while (true)
        {
            ClusterTopology topology = await client.GetTopologyAsync(cancellationToken);
            if (watch && _host.IsOutputTerminal)
                console.Clear();
            if (parsed.GetValue(_json))
                await _host.Out.WriteLineAsync(JsonSerializer.Serialize(topology, Json.ClusterTopology));
            else
                TopologyView.Write(console, topology);
            if (!watch)
                return 0;
            await Task.Delay(period, _host.Time, cancellationToken);
        }
    }
}
