using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Sessions;

/// <summary>
/// What a session emitted: the tokens of all choices and the events they make, in canonical order (token t of every
/// live choice by index, before t + 1; a choice's finish event where its next token would have come; usage last). A
/// pure function of the accepted request and the tokens: no clock, no random, no I/O.
/// </summary>
internal sealed class SessionTranscript
{
    private readonly ChoiceTranscript[] _choices;
    private readonly bool[] _finished;
    private readonly int?[] _cachedTokens;
    private readonly ImmutableArray<ScoredToken>[] _promptScores;
    private readonly List<SessionEvent> _events = [];
    private int _row;
    private int _next;
    private int _unfinished;

    public SessionTranscript(SessionRules rules)
    {
        Rules = rules;
        _choices = new ChoiceTranscript[rules.Accepted.ChoiceCount];
        for (int choice = 0; choice < _choices.Length; choice++)
            _choices[choice] = new ChoiceTranscript(rules, choice);
        _finished = new bool[_choices.Length];
        _unfinished = _choices.Length;
        _cachedTokens = new int?[rules.Accepted.Prompts.Length];
        _promptScores = new ImmutableArray<ScoredToken>[rules.Accepted.Prompts.Length];
        Array.Fill(_promptScores, []);
    }

    public SessionRules Rules { get; }

    public IReadOnlyList<ChoiceTranscript> Choices => _choices;

    /// <summary>Events that exist so far.</summary>
    public IReadOnlyList<SessionEvent> Events => _events;

    /// <summary>All choices ended and the usage event exists.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>Tokens of all choices.</summary>
    public int TokenCount { get; private set; }

    /// <summary>Prompt tokens found in the prefix cache by the first run, per prompt; null while unknown.</summary>
    public IReadOnlyList<int?> CachedTokens => _cachedTokens;

    /// <summary>Log-probabilities of a prompt's tokens from the second on; empty while unknown or not asked for.</summary>
    public ImmutableArray<ScoredToken> PromptScores(int prompt) => _promptScores[prompt];

    /// <summary>Takes what a replica reports, except what is known already or does not follow what is known.</summary>
    /// <returns>Number of tokens that were new.</returns>
    public int Apply(SequenceProgress progress)
    {
        if ((uint)progress.Choice >= (uint)_choices.Length)
            return 0;
        ApplyPrompt(progress);
        ChoiceTranscript choice = _choices[progress.Choice];
        int before = choice.Count;
        for (int i = 0; i < progress.Tokens.Length && choice.End == ChoiceEnd.None; i++)
        {
            if (progress.FirstIndex + i == choice.Count)
                choice.Append(progress.Tokens[i]);
        }

        if (progress.End is { } end && progress.FirstIndex + progress.Tokens.Length == choice.Count)
            choice.EndBy(end == SequenceEnd.StopToken ? ChoiceEnd.StopToken : ChoiceEnd.Length);
        TokenCount += choice.Count - before;
        Advance();
        return choice.Count - before;
    }

    /// <summary>Appends tokens of a journal to a choice.</summary>
    public void Restore(int choice, ReadOnlySpan<GeneratedToken> tokens, ChoiceEnd end)
    {
        foreach (GeneratedToken token in tokens)
        {
            if (_choices[choice].End != ChoiceEnd.None)
                throw new InvalidDataException($"Choice {choice} ended after {_choices[choice].Count} of {tokens.Length} tokens in the journal.");
            _choices[choice].Append(token);
        }

        if (end is not ChoiceEnd.None)
            _choices[choice].EndBy(end);
        TokenCount += tokens.Length;
    }

    /// <summary>Takes what a journal knows of a prompt.</summary>
    public void RestorePrompt(int prompt, int? cachedTokens, ImmutableArray<ScoredToken> scores)
    {
        _cachedTokens[prompt] = cachedTokens;
        _promptScores[prompt] = scores;
    }

    /// <summary>Appends the events that the tokens allow.</summary>
    public void Advance()
    {
        while (_unfinished > 0)
        {
            ChoiceTranscript choice = _choices[_next];
            if (!_finished[_next])
            {
                if (choice.Count > _row)
                    _events.Add(TokenEvent(choice));
                else if (choice.End == ChoiceEnd.None)
                    return;
                else
                    Finish(choice);
            }

            if (++_next == _choices.Length)
            {
                _next = 0;
                _row++;
            }
        }

        if (!IsComplete)
            Complete();
    }

    private void ApplyPrompt(SequenceProgress progress)
    {
        int prompt = Rules.Accepted.PromptOf(progress.Choice);
        if (_cachedTokens[prompt] is null)
            _cachedTokens[prompt] = Math.Min(progress.CachedTokens, Rules.Accepted.Prompts[prompt].TokenIds.Length);
        if (!progress.PromptLogprobs.IsDefaultOrEmpty && _promptScores[prompt].IsEmpty)
            _promptScores[prompt] = progress.PromptLogprobs;
    }

    private SessionEvent TokenEvent(ChoiceTranscript choice)
    {
        (int token, string text) = choice[_row];
        return new SessionEvent
        {
            SequenceNumber = _events.Count,
            Kind = SessionEventKind.Token,
            Choice = _next,
            TokenId = token,
            Text = text,
            Logprob = Rules.HasLogprobs ? Rules.Spelling.Spell(choice.Scores(_row)) : null,
        };
    }

    private void Finish(ChoiceTranscript choice)
    {
        _finished[_next] = true;
        _unfinished--;
        _events.Add(new SessionEvent
        {
            SequenceNumber = _events.Count,
            Kind = SessionEventKind.Finish,
            Choice = _next,
            Text = choice.FinalText,
            FinishReason = choice.End == ChoiceEnd.Length ? "length" : "stop",
            StopString = choice.StopString,
            StopToken = choice.StopToken,
        });
    }

    private void Complete()
    {
        IsComplete = true;
        int promptTokens = Rules.Accepted.Prompts.Sum(prompt => prompt.TokenIds.Length);
        int cachedTokens = _cachedTokens.Sum(tokens => tokens ?? 0);
        _events.Add(new SessionEvent
        {
            SequenceNumber = _events.Count,
            Kind = SessionEventKind.Usage,
            Usage = new TokenUsage(promptTokens, TokenCount, cachedTokens),
        });
    }
}
