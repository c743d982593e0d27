using System.CommandLine;
using Cluster.Client;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary><c>cluster scale MODEL</c>: replicas of a model, and over how many shards.</summary>
internal sealed class ScaleCommand : Command
{
    private readonly CliHost _host;
    private readonly ConnectionOptions _connection;
    private readonly Argument<string> _model = new("model") { Description = "Served name." };
    private readonly Option<string?> _replicas = new("--replicas", "-r") { Description = "Replicas, or auto for as many as there are devices for; 0 keeps the model listed and loads it when it is asked for." };
    private readonly Option<int?> _tensor = new("--tensor-parallel-size", "-tp") { Description = "Shards of each layer." };
    private readonly Option<int?> _pipeline = new("--pipeline-parallel-size", "-pp") { Description = "Stages of layers." };
    private readonly Option<int?> _wait = new("--wait") { Description = "Wait until it is done, at most so many seconds (default 300).", Arity = ArgumentArity.ZeroOrOne };

    public ScaleCommand(CliHost host, ConnectionOptions connection) : base("scale", "Changes the replicas and the layout of a model.")
    {
        (_host, _connection) = (host, connection);
        Add(_model);
        Add(_replicas);
        Add(_tensor);
        Add(_pipeline);
        Add(_wait);
        _replicas.Check(text => text == "auto" || int.TryParse(text, out int count) && count >= 0, "a number from 0, or auto");
        _tensor.Check(size => size is null or >= 1, "1 or more");
        _pipeline.Check(size => size is null or >= 1, "1 or more");
        Validators.Add(result =>
        {
            if (result.GetResult(_replicas) is null && result.GetResult(_tensor) is null && result.GetResult(_pipeline) is null)
                result.AddError("Say what to change: --replicas, --tensor-parallel-size or --pipeline-parallel-size.");
        });
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using InferenceClient client = await _connection.ConnectAsync(parsed, _host, cancellationToken);
        string? replicas = parsed.GetValue(_replicas);
        var scale = new ModelScale
        {
            FillDevices = replicas == "auto",
            Replicas = int.TryParse(replicas, out int count) ? count : null,
            TensorParallelSize = parsed.GetValue(_tensor),
            PipelineParallelSize = parsed.GetValue(_pipeline),
        };
        ModelDeclaration declared = await client.ScaleAsync(parsed.GetRequiredValue(_model), scale, cancellationToken);
        string name = declared.Description.Name;
        await _host.Out.WriteLineAsync(
            $"{name}: {declared.Replicas?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "auto"} replicas of {declared.Layout.Shards} shards "
            + $"(tensor {declared.Layout.TensorParallelSize}, pipeline {declared.Layout.PipelineParallelSize})");
        if (parsed.GetResult(_wait) is { Implicit: false })
            await TopologyWait.ForAsync(client, _host, TimeSpan.FromSeconds(parsed.GetValue(_wait) ?? 300), topology => IsReached(topology, declared), cancellationToken);
        return 0;
    }

    private static bool IsReached(ClusterTopology topology, ModelDeclaration declared)
    {
        ReplicaDescription[] replicas = [.. topology.Replicas.Where(replica => replica.Model == declared.Description.Name)];
        return replicas.All(replica => replica.Load.Ready && replica.Shards.Length == declared.Layout.Shards)
            && (declared.Replicas is { } wanted ? replicas.Length == wanted : replicas.Length > 0);
    }
}
