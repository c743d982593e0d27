using System.Collections.Immutable;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Cluster.Grains.Decoding;
using Cluster.Grains.Shards;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Concurrency;

namespace Cluster.Grains.Replicas;

/// <summary>A replica: groups come in, <see cref="StepLoop"/> serves them all together. Kept alive, or the prefix cache would go when it idles.</summary>
[Reentrant, KeepAlive]
internal sealed class TargetReplicaGrain : Grain, ITargetReplicaGrain
{
    private readonly StepLoop _loop;

    /// <summary>Made by Orleans.</summary>
    public TargetReplicaGrain(
        ShardHost host, IProposerFactory proposers, IOptions<ClusterOptions> options, ClusterMetrics metrics, TimeProvider time, ILogger<TargetReplicaGrain> logger) =>
        _loop = new StepLoop(this.GetPrimaryKeyString(), GrainFactory, host, proposers, options.Value, metrics, time, logger);

    /// <inheritdoc/>
    public async IAsyncEnumerable<SequenceProgress> Generate(SequenceGroup group, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Activity? activity = StartActivity(group);
        ActiveGroup? active = null;
        try
        {
            active = await _loop.SubmitAsync(group);
            do
            {
                while (active.TryTake(out SequenceProgress? progress))
                    yield return progress;
            }
            while (await active.WaitAsync(cancellationToken));
        }
        finally
        {
            if (active is not null)
                _loop.Leave(active);
            activity?.Stop();
        }
    }

    /// <inheritdoc/>
    public Task Drop(string sessionId, int choice)
    {
        _loop.Drop(sessionId, choice);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task<ImmutableArray<ImmutableArray<int>>> Propose(ImmutableArray<SequenceGroup> groups) => _loop.ProposeAsync(groups);

    /// <inheritdoc/>
    public Task Retire()
    {
        _loop.Retire();
        DeactivateOnIdle();
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task<ReplicaLoad> GetLoad() => Task.FromResult(_loop.Load());

    /// <inheritdoc/>
    public override Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        _loop.Stop(reason.Description);
        return base.OnDeactivateAsync(reason, cancellationToken);
    }

    // The span lives across yields, so it must not stay the current one of whoever reads.
    private static Activity? StartActivity(SequenceGroup group)
    {
        Activity? outer = Activity.Current;
        Activity? activity = ClusterMetrics.Activities.StartActivity("replica.generate");
        activity?.SetTag("session", group.SessionId).SetTag("sequences", group.Sequences.Length);
        Activity.Current = outer;
        return activity;
    }
}
