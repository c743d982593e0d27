using System.CommandLine;
using Cluster.Client;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary><c>cluster drain SILO</c>: moves a silo's shards elsewhere.</summary>
internal sealed class DrainCommand : Command
{
    private readonly CliHost _host;
    private readonly ConnectionOptions _connection;
    private readonly Argument<string> _silo = new("silo") { Description = "Name of the silo, as 'ps' shows it." };
    private readonly Option<bool> _undo = new("--undo") { Description = "Let the silo take part again." };
    private readonly Option<int?> _wait = new("--wait") { Description = "Wait until it is empty, at most so many seconds (default 300).", Arity = ArgumentArity.ZeroOrOne };

    public DrainCommand(CliHost host, ConnectionOptions connection) : base("drain", "Moves all shards of a silo elsewhere; streams go on.")
    {
        (_host, _connection) = (host, connection);
        Add(_silo);
        Add(_undo);
        Add(_wait);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using InferenceClient client = await _connection.ConnectAsync(parsed, _host, cancellationToken);
        SiloDescription silo = await client.DrainAsync(parsed.GetRequiredValue(_silo), !parsed.GetValue(_undo), cancellationToken);
        await _host.Out.WriteLineAsync($"{silo.Name}: {(silo.IsDraining ? "draining" : "takes part")}");
        if (silo.IsDraining && parsed.GetResult(_wait) is { Implicit: false })
        {
            await TopologyWait.ForAsync(
                client, _host, TimeSpan.FromSeconds(parsed.GetValue(_wait) ?? 300),
                topology => !topology.Replicas.Any(replica => replica.Shards.Any(shard => shard.Silo == silo.Name)), cancellationToken);
        }
        return 0;
    }
}
