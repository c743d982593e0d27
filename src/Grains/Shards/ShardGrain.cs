using Orleans.Concurrency;
using Orleans.Placement;

namespace Cluster.Grains.Shards;

/// <summary>
/// The way to a shard from other silos: a facade over the <see cref="ShardRunner"/> of this silo that has the same key.
/// Reentrant, because a step is prepared while another one is on the device.
/// </summary>
[Reentrant, KeepAlive, Immovable, ShardPlacementAttribute]
internal sealed class ShardGrain(ShardHost host) : Grain, IShardGrain
{
    private ShardRunner Runner => host.Find(this.GetPrimaryKeyString())
        ?? throw new ShardFailedException($"Shard {this.GetPrimaryKeyString()} is not loaded.");

    /// <inheritdoc/>
    public Task<ShardCapacity> Open(ShardOpening opening) => Runner.OpenAsync(opening);

    /// <inheritdoc/>
    public Task<StepResult> Execute(StepPlan plan) => Runner.ExecuteAsync(plan);
}
