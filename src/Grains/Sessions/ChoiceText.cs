using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Text;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Text of one choice: detokenizes and looks for stop strings. Models without a tokenizer have no text. A pure function
/// of the tokens appended so far.
/// </summary>
internal sealed class ChoiceText
{
    // Tokens of the prompt that the answer continues: enough for any leading-space rule and any split character.
    private const int ContextTokens = 8;

    private readonly StreamingDetokenizer? _detokenizer;
    private readonly StopStringMatcher? _matcher;
    private readonly StopOptions _stop;

    public ChoiceText(SessionRules rules, ImmutableArray<int> prompt)
    {
        _stop = rules.Accepted.Request.Stop;
        if (rules.Model.Tokenizer is not { } tokenizer)
            return;
        bool skipSpecialTokens = rules.Accepted.Request.Presentation.SkipSpecialTokens;
        ReadOnlySpan<int> context = prompt.AsSpan()[^Math.Min(ContextTokens, prompt.Length)..];
        _detokenizer = new StreamingDetokenizer(tokenizer, skipSpecialTokens, context);
        if (_stop.Strings.Length > 0)
            _matcher = new StopStringMatcher(_stop.Strings, _stop.IncludeStopString);
    }

    /// <summary>Appends a token.</summary>
    /// <param name="token">Token id.</param>
    /// <param name="count">Tokens of the choice with this one.</param>
    /// <param name="stops">The token ends the choice; its text is left out like that of a stop string.</param>
    /// <returns>Text to show now, and the stop string that is complete with it.</returns>
    public (string Text, string? StopString) Append(int token, int count, bool stops)
    {
        if (_detokenizer is null || (stops && !_stop.IncludeStopString))
            return ("", null);
        return Match(_detokenizer.Append(token), count);
    }

    /// <summary>Ends the text.</summary>
    /// <param name="count">Tokens of the choice.</param>
    /// <returns>Text that was held back, and the stop string that is complete with it.</returns>
    public (string Text, string? StopString) Flush(int count)
    {
        if (_detokenizer is null)
            return ("", null);
        (string text, string? stopString) = Match(_detokenizer.Flush(), count);
        return stopString is null && _matcher is not null ? (text + _matcher.Flush(), null) : (text, stopString);
    }

    // Text up to min_tokens cannot end the choice, as in vLLM.
    private (string Text, string? StopString) Match(string text, int count)
    {
        if (_matcher is null || count <= _stop.MinTokens)
            return (text, null);
        return (_matcher.Append(text), _matcher.Matched);
    }
}
