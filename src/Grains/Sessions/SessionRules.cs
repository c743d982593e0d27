using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Sessions;

/// <summary>What ends a choice and how its tokens are spelled: derived once from the accepted request and its model.</summary>
internal sealed class SessionRules
{
    private readonly HashSet<int> _stopTokens;
    private readonly HashSet<int> _endOfSequence;

    public SessionRules(AcceptRecord accepted, ServedModel model)
    {
        StopOptions stop = accepted.Request.Stop;
        Accepted = accepted;
        Model = model;
        _endOfSequence = stop.IgnoreEos ? [] : [.. model.EosTokens];
        StopTokens = [.. _endOfSequence.Concat(stop.TokenIds).Distinct()];
        _stopTokens = [.. StopTokens];
        Spelling = new TokenSpelling(model.Tokenizer, accepted.Request.Presentation.TokensAsTokenIds);
    }

    public AcceptRecord Accepted { get; }

    public ServedModel Model { get; }

    public TokenSpelling Spelling { get; }

    /// <summary>Token ids that end a choice.</summary>
    public ImmutableArray<int> StopTokens { get; }

    /// <summary>Whether tokens carry log-probabilities.</summary>
    public bool HasLogprobs => Accepted.Request.Logprobs is not null;

    /// <summary>Whether the token ends a choice that has <paramref name="count"/> tokens with it.</summary>
    public bool IsStop(int token, int count) => count >= Accepted.Request.Stop.MinTokens && _stopTokens.Contains(token);

    /// <summary>Whether the token is a regular end of sequence, which is not reported as a stop token.</summary>
    public bool IsEndOfSequence(int token) => _endOfSequence.Contains(token);
}
