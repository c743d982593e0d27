using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Replicas;

/// <summary>Rounds for replicas that use this one as their draft: short sequences among the others, in the same steps.</summary>
internal sealed partial class StepLoop
{
    /// <inheritdoc cref="ITargetReplicaGrain.Propose"/>
    public async Task<ImmutableArray<ImmutableArray<int>>> ProposeAsync(ImmutableArray<SequenceGroup> groups) =>
        [.. await Task.WhenAll(groups.Select(DraftAsync))];

    private async Task<ImmutableArray<int>> DraftAsync(SequenceGroup origin)
    {
        ActiveGroup group;
        try
        {
            group = await SubmitAsync(origin);
        }
        catch (RequestRejectedException)
        {
            // Too long for this model, or its queue is full: no draft.
            return [];
        }

        var tokens = ImmutableArray.CreateBuilder<int>();
        try
        {
            do
            {
                while (group.TryTake(out SequenceProgress? progress))
                    tokens.AddRange(progress.Tokens.Select(token => token.Token));
            }
            while (await group.WaitAsync(CancellationToken.None));
        }
        finally
        {
            Leave(group);
        }

        return tokens.DrainToImmutable();
    }
}
