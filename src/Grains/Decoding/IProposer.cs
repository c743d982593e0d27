using Cluster.Contracts;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Decoding;

/// <summary>Guesses the tokens that follow. A guess may be anything: what is emitted does not depend on it, only how fast.</summary>
internal interface IProposer
{
    /// <summary>Whether a guess costs next to nothing, so that all are made before it is decided which are worth verifying.</summary>
    bool IsFree { get; }

    /// <summary>Puts a draft on each sequence; an empty one where it has no guess.</summary>
    /// <param name="sequences">Sequences whose next token is about to be drawn, none of them in a step.</param>
    /// <param name="most">Longest draft of each, [sequences].</param>
    ValueTask ProposeAsync(IReadOnlyList<Sequence> sequences, ReadOnlyMemory<int> most);
}

/// <summary>Makes a replica's proposer.</summary>
internal interface IProposerFactory
{
    /// <summary>The proposer that a configuration asks for.</summary>
    /// <exception cref="NotSupportedException">The method is unknown (to this version).</exception>
    IProposer Create(SpeculativeConfig config);
}
