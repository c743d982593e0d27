using Cluster.Kernels.Execution;
using Orleans.Concurrency;
using Orleans.Placement;

namespace Cluster.Grains.Shards;

/// <summary>
/// A facade over the engine of this silo that has the same key. Reentrant, because a step is prepared while another one is
/// on the device; the engine runs them in the order of the calls.
/// <para>
/// Fencing: a plan must carry the epoch that was opened last and follow the plan before. The highest epoch ever opened is
/// kept by <see cref="ShardHost"/>, which outlives the activation. After a failed step every further plan of the epoch is
/// refused, so a replica that goes on must open a new one and send its sequences again.
/// </para>
/// </summary>
[Reentrant, KeepAlive, Immovable, ShardPlacementAttribute]
internal sealed class ShardGrain(ShardHost host) : Grain, IShardGrain
{
    private readonly Stack<ForwardBatchBuilder> _builders = new();
    private IShardEngine? _engine;
    private SequenceTable? _table;
    private long _epoch = -1;
    private long _nextStep;
    private string? _failure;

    private string Key => this.GetPrimaryKeyString();

    /// <inheritdoc/>
    public Task<ShardCapacity> Open(long epoch)
    {
        IShardEngine engine = host.Find(Key) ?? throw new ShardFailedException($"Shard {Key} is not loaded.");
        long newest = host.Fence(Key, epoch);
        if (newest > epoch)
            throw new ShardFailedException($"Shard {Key} does not open epoch {epoch}: epoch {newest} is known.");
        _engine = engine;
        _table = new SequenceTable(engine.BlockCount, engine.BlockSize);
        (_epoch, _nextStep, _failure) = (epoch, 0, null);
        ShardSpec spec = engine.Spec;
        return Task.FromResult(new ShardCapacity(engine.BlockCount, engine.BlockSize, spec.MaxBatchedTokens, spec.MaxSequences, spec.MaxModelLength));
    }

    /// <inheritdoc/>
    public async Task<StepResult> Execute(StepPlan plan)
    {
        SequenceTable table = Check(plan);
        table.Apply(plan);
        _nextStep++;
        ForwardBatchBuilder builder = _builders.TryPop(out ForwardBatchBuilder? spare) ? spare : new ForwardBatchBuilder();
        try
        {
            ForwardBatch batch = builder.Build(plan, table);
            ForwardOutput output = await _engine!.ExecuteAsync(batch);
            StepResult result = StepResultBuilder.Build(plan, batch, output);
            _builders.Push(builder);
            return result;
        }
        catch (Exception failure)
        {
            if (plan.Epoch == _epoch)
                _failure = failure.Message;
            throw failure as ShardFailedException ?? new ShardFailedException($"Shard {Key} failed in step {plan.Step}: {failure.Message}");
        }
    }

    private SequenceTable Check(StepPlan plan)
    {
        if (_table is null)
            throw new ShardFailedException($"Shard {Key} has no open epoch, the plan is of epoch {plan.Epoch}.");
        long newest = host.Fence(Key, _epoch);
        if (plan.Epoch != _epoch || newest != _epoch)
            throw new ShardFailedException($"Shard {Key} is in epoch {newest}, the plan is of epoch {plan.Epoch}.");
        if (_failure is not null)
            throw new ShardFailedException($"Shard {Key} failed before in epoch {_epoch}: {_failure}");
        if (plan.Step != _nextStep)
            throw new ShardFailedException($"Shard {Key} expects step {_nextStep} of epoch {_epoch}, not step {plan.Step}.");
        if (!ReferenceEquals(host.Find(Key), _engine))
            throw new ShardFailedException($"Shard {Key} was loaded anew; epoch {_epoch} has no cache any more.");
        return _table;
    }
}
