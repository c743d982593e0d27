using System.Collections.Immutable;
using System.Text;
using Cluster.Contracts;

namespace Cluster.Client;

/// <summary>Collects the events of one session into its answer.</summary>
internal sealed class GenerationResultBuilder
{
    private readonly SortedDictionary<int, ChoiceBuilder> _choices = [];
    private TokenUsage? _usage;

    /// <summary>Adds one event; events must come in order, each once.</summary>
    public void Add(SessionEvent sessionEvent)
    {
        if (sessionEvent.Kind == SessionEventKind.Usage)
        {
            _usage = sessionEvent.Usage;
            return;
        }
        if (!_choices.TryGetValue(sessionEvent.Choice, out ChoiceBuilder? choice))
            _choices.Add(sessionEvent.Choice, choice = new ChoiceBuilder());
        choice.Add(sessionEvent);
    }

    /// <summary>The answer.</summary>
    /// <exception cref="InvalidOperationException">The events do not make a whole answer.</exception>
    public GenerationResult Build(SessionDescription description)
    {
        if (_usage is null)
            throw new InvalidOperationException($"The answer of session {description.Id} has no usage event: it is not complete.");
        if (_choices.Count == 0)
            throw new InvalidOperationException($"The answer of session {description.Id} has no choice.");
        return new GenerationResult
        {
            SessionId = description.Id,
            Model = description.Model,
            Created = DateTimeOffset.FromUnixTimeSeconds(description.Created),
            Prompts = description.Prompts,
            Usage = _usage,
            Choices = [.. _choices.Select(pair => pair.Value.Build(pair.Key, EchoOf(description, pair.Key)))],
        };
    }

    private static string EchoOf(SessionDescription description, int choice)
    {
        int prompt = choice / Math.Max(description.Choices, 1);
        return description.Presentation.Echo && prompt < description.Prompts.Length ? description.Prompts[prompt].Text : "";
    }

    private sealed class ChoiceBuilder
    {
        private readonly StringBuilder _text = new();
        private readonly ImmutableArray<int>.Builder _tokenIds = ImmutableArray.CreateBuilder<int>();
        private readonly ImmutableArray<TokenLogprob>.Builder _logprobs = ImmutableArray.CreateBuilder<TokenLogprob>();
        private SessionEvent? _finish;

        public void Add(SessionEvent sessionEvent)
        {
            _text.Append(sessionEvent.Text);
            if (sessionEvent.Kind == SessionEventKind.Finish)
            {
                _finish = sessionEvent;
                return;
            }
            _tokenIds.Add(sessionEvent.TokenId);
            if (sessionEvent.Logprob is not null)
                _logprobs.Add(sessionEvent.Logprob);
        }

        public GenerationChoice Build(int index, string echo) => new()
        {
            Index = index,
            Text = echo + _text,
            TokenIds = _tokenIds.ToImmutable(),
            Logprobs = _logprobs.ToImmutable(),
            FinishReason = _finish?.FinishReason ?? throw new InvalidOperationException($"Choice {index} has no finish reason: the answer is not complete."),
            StopString = _finish.StopString,
            StopToken = _finish.StopToken,
        };
    }
}
