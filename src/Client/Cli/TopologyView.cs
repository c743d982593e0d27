using System.Globalization;
using Cluster.Contracts;
using Spectre.Console;

namespace Cluster.Cli;

/// <summary>A topology as tables.</summary>
internal static class TopologyView
{
    /// <summary>Prints silos, models and replicas.</summary>
    public static void Write(IAnsiConsole console, ClusterTopology topology)
    {
        console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Topology version {topology.Version}"));
        console.Write(Silos(topology));
        console.Write(Models(topology));
        console.Write(Replicas(topology));
    }

    private static Table Silos(ClusterTopology topology)
    {
        Table table = Create("SILO", "STATE", "URL", "DEVICES");
        foreach (SiloDescription silo in topology.Silos)
            Add(table, silo.Name, silo.IsDraining ? "draining" : "active", silo.HttpUrl, string.Join(", ", silo.Devices));
        return table;
    }

    private static Table Models(ClusterTopology topology)
    {
        Table table = Create("MODEL", "ARCHITECTURE", "PARAMETERS", "WEIGHTS", "MAX LENGTH", "TOKENIZER", "REPLICAS", "ASKED FOR");
        foreach (ModelDescription model in topology.Models)
        {
            ReplicaDescription[] replicas = [.. topology.Replicas.Where(replica => replica.Model == model.Name)];
            Add(table, model.Name, model.Architecture, Count(model.Parameters), model.Weights ?? "", Number(model.MaxModelLength), model.HasTokenizer ? "yes" : "no",
                $"{replicas.Count(replica => replica.Load.Ready)}/{replicas.Length} ready", Asked(topology, model.Name));
        }
        return table;
    }

    // An older server does not say.
    private static string Asked(ClusterTopology topology, string model) =>
        topology.Declarations.IsDefaultOrEmpty || topology.Declarations.FirstOrDefault(declaration => declaration.Description.Name == model) is not { } declaration
        ? ""
        : string.Create(
        CultureInfo.InvariantCulture,
        $"{declaration.Replicas?.ToString(CultureInfo.InvariantCulture) ?? "auto"} x (tensor {declaration.Layout.TensorParallelSize}, pipeline {declaration.Layout.PipelineParallelSize})");

    private static string State(ReplicaDescription replica) => replica.Load.Ready ? "ready"
        : replica.Shards.FirstOrDefault(shard => shard.State == ShardState.Failed) is { } failed ? $"failed: {failed.Problem}"
        : replica.Shards.All(shard => shard.State == ShardState.Ready) ? "stuck" : "loading";

    private static Table Replicas(ClusterTopology topology)
    {
        string[] columns = ["REPLICA", "STATE", "EPOCH", "SHARDS", "RUNNING", "WAITING", "KV USE", "KV BLOCKS", "TOKENS"];
        bool guesses = topology.Replicas.Any(replica => replica.Load.Speculation is not null);
        Table table = Create(guesses ? [.. columns, "GUESSED", "RIGHT BY PLACE"] : columns);
        foreach (ReplicaDescription replica in topology.Replicas)
        {
            ReplicaLoad load = replica.Load;
            string[] cells =
            [
                replica.Key, State(replica), Number(replica.Epoch),
                string.Join(", ", replica.Shards.OrderBy(shard => shard.Rank).Select(shard => $"{shard.Silo}/{shard.Device}")),
                Number(load.Running), Number(load.Waiting), load.KvUsage.ToString("P0", CultureInfo.InvariantCulture), Number(load.Blocks), Number(load.GeneratedTokens),
            ];
            Add(table, guesses ? [.. cells, Number(load.Speculation?.DraftTokens ?? 0), RightByPlace(load.Speculation)] : cells);
        }
        return table;
    }

    private static string RightByPlace(SpeculationLoad? speculation) => speculation is not { Drafts: > 0 }
        ? ""
        : string.Join(' ', speculation.AcceptedPerPosition.Select(right => ((double)right / speculation.Drafts).ToString("P0", CultureInfo.InvariantCulture)));

    private static Table Create(params string[] columns)
    {
        var table = new Table { Border = TableBorder.None, ShowRowSeparators = false };
        foreach (string column in columns)
            table.AddColumn(new TableColumn(new Text(column, new Style(decoration: Decoration.Bold))) { NoWrap = true, Padding = new Padding(0, 0, 3, 0) });
        return table;
    }

    private static void Add(Table table, params string[] cells) => table.AddRow(cells.Select(cell => new Text(cell)));

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Count(long value) => value switch
    {
        >= 1_000_000_000 => (value / 1e9).ToString("0.##", CultureInfo.InvariantCulture) + "B",
        >= 1_000_000 => (value / 1e6).ToString("0.##", CultureInfo.InvariantCulture) + "M",
        _ => Number(value),
    };
}
