using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Sessions;

/// <summary>Why a choice ended; kept in the journal.</summary>
internal enum ChoiceEnd
{
    None = 0,
    StopToken = 1,
    Length = 2,
    StopString = 3,
}

/// <summary>
/// The tokens of one choice, the text each of them released, and its end. Everything but the tokens is derived from
/// them, so a choice is restored by appending its tokens again.
/// </summary>
internal sealed class ChoiceTranscript
{
    private readonly SessionRules _rules;
    private readonly int _maxTokens;
    private readonly ChoiceText _text;
    private readonly List<int> _tokens = [];
    private readonly List<string> _texts = [];
    private readonly List<GeneratedToken> _scores = [];
    private readonly PackedWriter _packedTokens = new();
    private readonly PackedWriter _packedScores = new();

    public ChoiceTranscript(SessionRules rules, int choice)
    {
        int prompt = rules.Accepted.PromptOf(choice);
        _rules = rules;
        _maxTokens = rules.Accepted.MaxTokens[prompt];
        _text = new ChoiceText(rules, rules.Accepted.Prompts[prompt].TokenIds);
        MaxTokens = _maxTokens;
    }

    /// <summary>Most tokens.</summary>
    public int MaxTokens { get; }

    /// <summary>Tokens so far.</summary>
    public int Count => _tokens.Count;

    /// <summary>Why it ended.</summary>
    public ChoiceEnd End { get; private set; }

    /// <summary>Text that was held back until the end.</summary>
    public string FinalText { get; private set; } = "";

    /// <summary>The stop string that ended it, if one did.</summary>
    public string? StopString { get; private set; }

    /// <summary>The stop token that ended it, unless that was a regular end of sequence.</summary>
    public int? StopToken { get; private set; }

    public ReadOnlySpan<byte> PackedTokens => _packedTokens.Written;

    public ReadOnlySpan<byte> PackedScores => _packedScores.Written;

    /// <summary>The tokens as an immutable copy.</summary>
    public ImmutableArray<int> Tokens => [.. CollectionsMarshal.AsSpan(_tokens)];

    /// <summary>Token at an index with the text it released.</summary>
    public (int Token, string Text) this[int index] => (_tokens[index], _texts[index]);

    /// <summary>Token at an index with its log-probabilities; only if they were asked for.</summary>
    public GeneratedToken Scores(int index) => _scores[index];

    /// <summary>Appends the next token, and ends the choice if the token does.</summary>
    public void Append(GeneratedToken token)
    {
        if (End != ChoiceEnd.None)
            throw new InvalidOperationException($"A token came after the end of a choice of {Count} tokens.");
        _tokens.Add(token.Token);
        _packedTokens.Number(token.Token);
        if (_rules.HasLogprobs)
        {
            _scores.Add(token);
            _packedScores.Scores(token.Logprob, token.Top);
        }

        bool stops = _rules.IsStop(token.Token, Count);
        (string text, StopString) = _text.Append(token.Token, Count, stops);
        _texts.Add(text);
        if (StopString is not null)
            End = ChoiceEnd.StopString;
        else if (stops)
            EndBy(ChoiceEnd.StopToken);
        else if (Count >= _maxTokens)
            EndBy(ChoiceEnd.Length);
    }

    /// <summary>Ends the choice and releases the text that was held back, which may still complete a stop string.</summary>
    public void EndBy(ChoiceEnd end)
    {
        if (End != ChoiceEnd.None)
            return;
        End = end;
        (FinalText, StopString) = _text.Flush(Count);
        if (StopString is not null)
            End = ChoiceEnd.StopString;
        else if (end == ChoiceEnd.StopToken && Count > 0 && !_rules.IsEndOfSequence(_tokens[^1]))
            StopToken = _tokens[^1];
    }
}
