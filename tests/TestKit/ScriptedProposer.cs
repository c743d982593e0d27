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
    public async ValueTask ProposeAsync(IReadOnlyList<Sequence> sequences, int most)
    {
        await Task.Yield(); // As one that asks another grain.
        foreach (Sequence sequence in sequences)
            sequence.Propose(guess(sequence, most));
    }
}
