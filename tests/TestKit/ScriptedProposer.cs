using Cluster.Contracts;
using Cluster.Grains.Decoding;
using Cluster.Grains.Scheduling;

namespace Cluster.TestKit;

/// <summary>Drafts that a test decides: right, wrong, or in between.</summary>
/// <param name="guess">The draft of a sequence; the number is the longest that is wanted.</param>
internal sealed class ScriptedProposer(Func<Sequence, int, int[]> guess) : IProposer, IProposerFactory
{
    /// <inheritdoc/>
    public IProposer Create(SpeculativeConfig config) => this;

    /// <inheritdoc/>
    public bool IsFree => false;

    /// <inheritdoc/>
    public async ValueTask ProposeAsync(IReadOnlyList<Sequence> sequences, ReadOnlyMemory<int> most)
    {
        await Task.Yield(); // As one that asks another grain.
        for (int i = 0; i < sequences.Count; i++)
            sequences[i].Propose(guess(sequences[i], most.Span[i]));
    }
}
