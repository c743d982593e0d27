using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Decoding;

/// <summary>
/// Lets a replica of a smaller model draw the next tokens, with the random numbers that the target will use for the same places: where both
/// models agree about a token, they draw the same one (Gumbel coupling). All sequences of a step go in one call. The draft replica is the truth of
/// nothing: whatever happens to it, the next round may ask another one, which computes what it does not have.
/// </summary>
internal sealed class DraftModelProposer(SpeculativeConfig config, IGrainFactory grains, TimeProvider time) : IProposer
{
    // A draft that comes so late is worth nothing.
    private static readonly TimeSpan LongestRound = TimeSpan.FromSeconds(2);

    private readonly string _model = config.Model ?? throw new NotSupportedException("The method draft_model needs a model.");
    private ITargetReplicaGrain? _replica;

    /// <inheritdoc/>
    public bool IsFree => false;

    /// <inheritdoc/>
    public async ValueTask ProposeAsync(IReadOnlyList<Sequence> sequences, ReadOnlyMemory<int> most)
    {
        var groups = ImmutableArray.CreateBuilder<SequenceGroup>(sequences.Count);
        var asking = new List<Sequence>(sequences.Count);
        for (int i = 0; i < sequences.Count; i++)
        {
            sequences[i].Propose([]);
            if (most.Span[i] == 0)
                continue;
            groups.Add(Continue((ActiveSequence)sequences[i], most.Span[i]));
            asking.Add(sequences[i]);
        }

        if (asking.Count > 0)
            await AskAsync(asking, groups.DrainToImmutable());
    }

    private async Task AskAsync(List<Sequence> sequences, ImmutableArray<SequenceGroup> groups)
    {
        try
        {
            _replica ??= await FindAsync();
            ImmutableArray<ImmutableArray<int>> drafts = await _replica.Propose(groups).WaitAsync(LongestRound, time);
            for (int i = 0; i < sequences.Count; i++)
                sequences[i].Propose(drafts[i].AsSpan());
        }
        catch
        {
            _replica = null;
            throw;
        }
    }

    private async Task<ITargetReplicaGrain> FindAsync()
    {
        ClusterTopology topology = await grains.GetGrain<ITopologyGrain>(0).Get(CancellationToken.None).WaitAsync(LongestRound, time);
        ReplicaDescription replica = topology.Replicas.Where(replica => replica.Model == _model && replica.Load.Ready).MinBy(replica => replica.Load.Running)
            ?? throw new ReplicaUnavailableException($"No replica of the draft model '{_model}' is ready.");
        return grains.GetGrain<ITargetReplicaGrain>(replica.Key);
    }

    // As a resume of the same choice: its next tokens, and not one more than can be verified.
    private static SequenceGroup Continue(ActiveSequence sequence, int most)
    {
        SequenceGroup origin = sequence.Group.Origin;
        ReadOnlySpan<int> tokens = sequence.Tokens;
        return origin with
        {
            TopLogprobs = -1,
            PromptTopLogprobs = -1,
            Sequences =
            [
                new SequenceStart
                {
                    Choice = sequence.Start.Choice,
                    Prompt = sequence.Start.Prompt,
                    Generated = ImmutableArray.Create(tokens[sequence.PromptLength..]),
                    MaxTokens = Math.Min(sequence.GeneratedCount + most, sequence.MaxLength - 1 - sequence.PromptLength),
                },
            ],
            IsDraft = true,
            Inbox = null,
        };
    }
}
