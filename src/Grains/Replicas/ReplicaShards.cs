using Cluster.Grains.Shards;
using Cluster.Grains.Topology;

namespace Cluster.Grains.Replicas;

/// <summary>The shards of a replica in one epoch.</summary>
internal sealed class ReplicaShards
{
    private readonly Func<StepPlan, Task<StepResult>>[] _shards;

    private ReplicaShards(ReplicaAssignment assignment, Func<StepPlan, Task<StepResult>>[] shards, ShardCapacity capacity)
    {
        Assignment = assignment;
        Capacity = capacity;
        _shards = shards;
    }

    /// <summary>Which shards, and the epoch.</summary>
    public ReplicaAssignment Assignment { get; }

    /// <summary>What all of them have room for.</summary>
    public ShardCapacity Capacity { get; }

    /// <summary>Asks the topology for shards and a new epoch, and opens it on every shard.</summary>
    public static async Task<ReplicaShards> OpenAsync(IGrainFactory grains, ShardHost host, string replicaKey)
    {
        ReplicaAssignment assignment = await grains.GetGrain<ITopologyControlGrain>(0).OpenReplica(replicaKey);
        var shards = new IShardGrain[assignment.ShardKeys.Length];
        var openings = new Task<ShardCapacity>[shards.Length];
        for (int i = 0; i < shards.Length; i++)
        {
            shards[i] = grains.GetGrain<IShardGrain>(assignment.ShardKeys[i]);
            openings[i] = shards[i].Open(OpeningOf(replicaKey, assignment, i));
        }

        ShardCapacity[] capacities = await Task.WhenAll(openings);
        Func<StepPlan, Task<StepResult>>[] steps = [.. shards.Select((shard, rank) => StepOf(shard, host.Find(assignment.ShardKeys[rank])))];
        return new ReplicaShards(assignment, steps, Smallest(assignment, capacities));
    }

    private static ShardOpening OpeningOf(string replicaKey, ReplicaAssignment assignment, int rank) => new()
    {
        Replica = replicaKey,
        Epoch = assignment.Epoch,
        Rank = rank,
        Layout = assignment.Layout,
        IsLocal = assignment.ShardKeys.Select(key => ShardKey.Parse(key).Silo).Distinct().Count() == 1,
        Endpoints = assignment.Endpoints,
        Secret = assignment.Secret,
    };

    // A shard of this silo has the step on its device when the call returns; a message would wait for its turn.
    private static Func<StepPlan, Task<StepResult>> StepOf(IShardGrain shard, ShardRunner? local) => local is not null ? local.ExecuteAsync : shard.Execute;

    /// <summary>Runs a step on every shard; the one that holds the last layers answers.</summary>
    public async Task<StepResult> ExecuteAsync(StepPlan plan)
    {
        if (_shards.Length == 1)
            return Check(plan, await _shards[0](plan));
        var runs = new List<Task<StepResult>>(_shards.Length);
        foreach (Func<StepPlan, Task<StepResult>> execute in _shards)
            runs.Add(execute(plan));
        return await FirstOutputAsync(plan, runs);
    }

    // A shard may wait for one that failed: the first failure ends the step, whatever the others do.
    private static async Task<StepResult> FirstOutputAsync(StepPlan plan, List<Task<StepResult>> runs)
    {
        StepResult? output = null;
        try
        {
            while (runs.Count > 0)
            {
                Task<StepResult> done = await Task.WhenAny(runs);
                runs.Remove(done);
                StepResult result = await done;
                if (result.Outputs.Length > 0)
                    output ??= Check(plan, result);
            }
        }
        finally
        {
            foreach (Task<StepResult> left in runs)
                left.Ignore();
        }

        return output ?? throw new ShardFailedException($"No shard of step {plan.Step} in epoch {plan.Epoch} gave an output.");
    }

    private static StepResult Check(StepPlan plan, StepResult result) =>
        result.Step == plan.Step && result.Outputs.Length == plan.Scheduled.Length
            ? result
            : throw new ShardFailedException(
                $"Step {plan.Step} has {plan.Scheduled.Length} sequences, the answer is of step {result.Step} with {result.Outputs.Length}.");

    private static ShardCapacity Smallest(ReplicaAssignment assignment, ShardCapacity[] capacities)
    {
        if (capacities.Length == 0)
            throw new ShardFailedException($"Epoch {assignment.Epoch} of model {assignment.Model} has no shards.");
        ShardCapacity smallest = capacities[0];
        foreach (ShardCapacity capacity in capacities)
        {
            if (capacity.BlockSize != smallest.BlockSize)
                throw new ShardFailedException($"Shards have blocks of {smallest.BlockSize} and of {capacity.BlockSize} tokens.");
            smallest = new ShardCapacity(
                Math.Min(smallest.Blocks, capacity.Blocks),
                smallest.BlockSize,
                Math.Min(smallest.MaxBatchedTokens, capacity.MaxBatchedTokens),
                Math.Min(smallest.MaxSequences, capacity.MaxSequences),
                Math.Min(smallest.MaxModelLength, capacity.MaxModelLength));
        }

        return smallest;
    }
}
