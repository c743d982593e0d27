using Cluster.Kernels.Collectives;
using Cluster.Kernels.Execution;

namespace Cluster.Grains.Shards;

/// <summary>
/// A loaded shard and what it knows in its replica's epoch. It takes steps from its <see cref="ShardGrain"/> and, without a
/// message, from a replica in the same silo; the engine runs them in the order of the calls.
/// <para>
/// Fencing: a plan must carry the epoch that was opened last and follow the plan before. The highest epoch ever opened is
/// kept by <see cref="ShardHost"/>, which outlives the engine. After a failed step every further plan of the epoch is
/// refused, so a replica that goes on must open a new one and send its sequences again.
/// </para>
/// </summary>
internal sealed class ShardRunner(string key, IShardEngine engine, ShardHost host, ShardGroups groups)
{
    private readonly Lock _gate = new();
    private readonly Stack<ForwardBatchBuilder> _builders = new();
    private SequenceTable? _table;
    private IProcessGroup? _group;
    private CancellationTokenSource? _opening;
    private long _epoch = -1;
    private long _nextStep;
    private string? _failure;

    /// <summary>The engine.</summary>
    public IShardEngine Engine => engine;

    /// <inheritdoc cref="IShardGrain.Open"/>
    public async Task<ShardCapacity> OpenAsync(ShardOpening opening)
    {
        CancellationToken superseded = Leave(opening.Epoch);
        IProcessGroup? group = opening.Layout.Shards == 1 ? null : await JoinAsync(opening, superseded).ConfigureAwait(false);
        try
        {
            Begin(opening.Epoch, group);
        }
        catch
        {
            group?.Dispose();
            throw;
        }

        ShardSpec spec = engine.Spec;
        return new ShardCapacity(engine.BlockCount, engine.BlockSize, spec.MaxBatchedTokens, spec.MaxSequences, spec.MaxModelLength);
    }

    /// <summary>Leaves its peers: steps that wait for them fail.</summary>
    public void Close()
    {
        lock (_gate)
            LeaveGroup();
    }

    // Steps of the epoch before may wait for peers that never come: leaving their group ends them.
    private CancellationToken Leave(long epoch)
    {
        lock (_gate)
        {
            long newest = host.Fence(key, epoch);
            if (newest > epoch)
                throw new ShardFailedException($"Shard {key} does not open epoch {epoch}: epoch {newest} is known.");
            (_table, _epoch) = (null, epoch);
            LeaveGroup();
            _opening = new CancellationTokenSource();
            return _opening.Token;
        }
    }

    private void LeaveGroup()
    {
        _opening?.Cancel();
        _group?.Dispose();
        _group = null;
    }

    private async Task<IProcessGroup> JoinAsync(ShardOpening opening, CancellationToken superseded)
    {
        try
        {
            return await groups.JoinAsync(opening, superseded).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is ProcessGroupException or OperationCanceledException)
        {
            throw new ShardFailedException($"Shard {key} did not meet its peers for epoch {opening.Epoch}: {failure.Message}");
        }
    }

    private void Begin(long epoch, IProcessGroup? group)
    {
        lock (_gate)
        {
            if (host.Fence(key, epoch) > epoch || _epoch != epoch)
                throw new ShardFailedException($"Shard {key} does not open epoch {epoch}: a newer one is known.");
            engine.Join(group);
            _group = group;
            _table = new SequenceTable(engine.BlockCount, engine.BlockSize);
            (_nextStep, _failure) = (0, null);
        }
    }

    /// <inheritdoc cref="IShardGrain.Execute"/>
    /// <remarks>The step is on its way to the device when this returns.</remarks>
    public Task<StepResult> ExecuteAsync(StepPlan plan)
    {
        try
        {
            lock (_gate)
            {
                SequenceTable table = Check(plan);
                table.Apply(plan);
                _nextStep++;
                return RunAsync(plan, table, _builders.TryPop(out ForwardBatchBuilder? spare) ? spare : new ForwardBatchBuilder());
            }
        }
        catch (ShardFailedException refusal)
        {
            return Task.FromException<StepResult>(refusal);
        }
    }

    // Runs under the lock up to its first await.
    private async Task<StepResult> RunAsync(StepPlan plan, SequenceTable table, ForwardBatchBuilder builder)
    {
        try
        {
            ForwardBatch batch = builder.Build(plan, table);
            ForwardOutput output = await engine.ExecuteAsync(batch).ConfigureAwait(false);
            StepResult result = StepResultBuilder.Build(plan, batch, output);
            lock (_gate)
                _builders.Push(builder);
            return result;
        }
        catch (Exception failure)
        {
            lock (_gate)
            {
                if (plan.Epoch == _epoch)
                    _failure = failure.Message;
            }

            throw failure as ShardFailedException ?? new ShardFailedException($"Shard {key} failed in step {plan.Step}: {failure.Message}");
        }
    }

    private SequenceTable Check(StepPlan plan)
    {
        if (_table is null)
            throw new ShardFailedException($"Shard {key} has no open epoch, the plan is of epoch {plan.Epoch}.");
        long newest = host.Fence(key, _epoch);
        if (plan.Epoch != _epoch || newest != _epoch)
            throw new ShardFailedException($"Shard {key} is in epoch {newest}, the plan is of epoch {plan.Epoch}.");
        if (_failure is not null)
            throw new ShardFailedException($"Shard {key} failed before in epoch {_epoch}: {_failure}");
        if (plan.Step != _nextStep)
            throw new ShardFailedException($"Shard {key} expects step {_nextStep} of epoch {_epoch}, not step {plan.Step}.");
        if (!ReferenceEquals(host.Find(key), this))
            throw new ShardFailedException($"Shard {key} is not loaded any more; epoch {_epoch} has no cache.");
        return _table;
    }
}
