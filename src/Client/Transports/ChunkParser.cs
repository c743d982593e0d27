using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>
/// Turns chunks of a completion or chat stream into session events. Our own edge numbers its events and names their
/// tokens; other OpenAI-compatible servers do neither, so both are optional and events are then counted here.
/// </summary>
internal sealed class ChunkParser(GenerationRequest? request, long fromSequenceNumber)
{
    /// <summary>Token id of a token the server did not name.</summary>
    public const int UnknownToken = -1;

    private readonly SortedDictionary<int, ImmutableArray<int>> _promptTokens = [];
    private readonly HashSet<int> _open = [];
    private readonly bool _fromStart = fromSequenceNumber == 0;
    private long _next = fromSequenceNumber;
    private int _tokens;
    private int _finishes;
    private bool _usageSeen;

    /// <summary>What the chunks so far say of the session.</summary>
    public SessionDescription? Description { get; private set; }

    /// <summary>Adds the events of one chunk.</summary>
    /// <exception cref="ServerFailureException">The chunk is an error event.</exception>
    /// <exception cref="RequestRejectedException">The chunk is an error event about the request.</exception>
    public void Parse(JsonElement chunk, Queue<SessionEvent> events)
    {
        if (chunk.TryGetProperty("error", out JsonElement error) && error.ValueKind == JsonValueKind.Object)
            throw HttpErrors.FromEvent(error);
        bool numbered = chunk.TryGetProperty("sequence_number", out JsonElement number) && number.ValueKind == JsonValueKind.Number;
        if (numbered)
            _next = number.GetInt64();
        bool anyChoice = false;
        if (chunk.TryGetProperty("choices", out JsonElement choices) && choices.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement choice in choices.EnumerateArray())
            {
                anyChoice = true;
                ReadPromptTokens(choice, choice.TryGetProperty("index", out JsonElement index) ? index.GetInt32() : 0);
                ParseChoice(choice, numbered, events);
            }
        }
        ReadPromptTokens(chunk, 0);
        Describe(chunk);
        if (!anyChoice && chunk.TryGetProperty("usage", out JsonElement usage) && usage.ValueKind == JsonValueKind.Object)
            AddUsage(usage, events);
    }

    /// <summary>The stream said <c>[DONE]</c>: adds the usage event if the server sent none.</summary>
    /// <exception cref="EndOfStreamException">A choice has no finish reason.</exception>
    public void Complete(Queue<SessionEvent> events)
    {
        int expected = !_fromStart ? 0 : request is null ? 1 : request.Choices * (request.Kind == RequestKind.Chat ? 1 : request.Prompts.Length);
        int missing = Math.Max(_open.Count, expected - _finishes);
        if (missing > 0)
            throw new EndOfStreamException($"the stream ended without the finish reason of {missing} choice(s)");
        if (_usageSeen || _finishes == 0)
            return;
        events.Enqueue(new SessionEvent
        {
            SequenceNumber = _next++,
            Kind = SessionEventKind.Usage,
            Usage = new TokenUsage(_promptTokens.Values.Sum(ids => ids.Length), _tokens, 0),
        });
    }

    private void ParseChoice(JsonElement choice, bool numbered, Queue<SessionEvent> events)
    {
        int index = choice.TryGetProperty("index", out JsonElement number) ? number.GetInt32() : 0;
        string text = TextOf(choice);
        ImmutableArray<int> ids = IdsOf(choice, "token_ids");
        bool named = numbered || !ids.IsDefault;
        string? finish = choice.TryGetProperty("finish_reason", out JsonElement reason) && reason.ValueKind == JsonValueKind.String ? reason.GetString() : null;
        ImmutableArray<TokenLogprob> logprobs = LogprobReader.Read(choice, ids);
        // Where tokens are named, text without a token is what the finish releases; elsewhere text is all there is to see of a token.
        int tokens = named ? (ids.IsDefault ? logprobs.Length : ids.Length) : Math.Max(logprobs.Length, text.Length > 0 ? 1 : 0);
        if (named && ids.IsDefault && tokens == 0 && text.Length > 0 && finish is null)
            tokens = 1;
        if (tokens > 0 || text.Length > 0)
            _open.Add(index);
        for (int i = 0; i < tokens; i++)
        {
            _tokens++;
            events.Enqueue(new SessionEvent
            {
                SequenceNumber = _next++,
                Kind = SessionEventKind.Token,
                Choice = index,
                TokenId = ids.IsDefault ? UnknownToken : ids[i],
                Text = i == 0 ? text : "",
                Logprob = i < logprobs.Length ? logprobs[i] : null,
            });
        }
        if (finish is not null)
            AddFinish(choice, index, finish, tokens == 0 ? text : "", events);
    }

    private void AddFinish(JsonElement choice, int index, string finish, string text, Queue<SessionEvent> events)
    {
        _open.Remove(index);
        _finishes++;
        choice.TryGetProperty("stop_reason", out JsonElement stop);
        events.Enqueue(new SessionEvent
        {
            SequenceNumber = _next++,
            Kind = SessionEventKind.Finish,
            Choice = index,
            Text = text,
            FinishReason = finish,
            StopString = stop.ValueKind == JsonValueKind.String ? stop.GetString() : null,
            StopToken = stop.ValueKind == JsonValueKind.Number ? stop.GetInt32() : null,
        });
    }

    private void AddUsage(JsonElement usage, Queue<SessionEvent> events)
    {
        _usageSeen = true;
        int cached = usage.TryGetProperty("prompt_tokens_details", out JsonElement details) && details.ValueKind == JsonValueKind.Object ? NumberOf(details, "cached_tokens") : 0;
        events.Enqueue(new SessionEvent
        {
            SequenceNumber = _next++,
            Kind = SessionEventKind.Usage,
            Usage = new TokenUsage(NumberOf(usage, "prompt_tokens"), NumberOf(usage, "completion_tokens"), cached),
        });
    }

    private void ReadPromptTokens(JsonElement element, int choice)
    {
        ImmutableArray<int> ids = IdsOf(element, "prompt_token_ids");
        if (ids.IsDefault)
            return;
        _promptTokens[choice / (request?.Choices ?? 1)] = ids;
        Description = null;
    }

    private void Describe(JsonElement chunk)
    {
        if (Description is not null || !chunk.TryGetProperty("id", out JsonElement id))
            return;
        Description = new SessionDescription
        {
            Id = id.GetString() ?? "",
            Created = chunk.TryGetProperty("created", out JsonElement created) && created.ValueKind == JsonValueKind.Number ? created.GetInt64() : 0,
            Model = chunk.TryGetProperty("model", out JsonElement model) ? model.GetString() ?? "" : "",
            Kind = chunk.TryGetProperty("object", out JsonElement kind) && kind.GetString() == "chat.completion.chunk" ? RequestKind.Chat : RequestKind.Completion,
            Choices = request?.Choices ?? 1,
            Prompts = [.. Enumerable.Range(0, Math.Max(request?.Prompts.Length ?? 0, _promptTokens.Count)).Select(DescribePrompt)],
            Presentation = request?.Presentation ?? new PresentationOptions(),
            ModelFingerprint = chunk.TryGetProperty("system_fingerprint", out JsonElement fingerprint) ? fingerprint.GetString() ?? "" : "",
            Seed = request?.Sampling.Seed ?? 0,
            Logprobs = request?.Logprobs,
        };
    }

    private PromptDescription DescribePrompt(int index)
    {
        Prompt? asked = request is not null && index < request.Prompts.Length ? request.Prompts[index] : null;
        return new PromptDescription
        {
            TokenIds = _promptTokens.TryGetValue(index, out ImmutableArray<int> ids) ? ids : asked?.TokenIds ?? [],
            Text = asked?.Text ?? "",
        };
    }

    private static string TextOf(JsonElement choice)
    {
        if (choice.TryGetProperty("text", out JsonElement text) && text.ValueKind == JsonValueKind.String)
            return text.GetString()!;
        return choice.TryGetProperty("delta", out JsonElement delta) && delta.ValueKind == JsonValueKind.Object
            && delta.TryGetProperty("content", out JsonElement content) && content.ValueKind == JsonValueKind.String ? content.GetString()! : "";
    }

    private static ImmutableArray<int> IdsOf(JsonElement element, string name) =>
        element.TryGetProperty(name, out JsonElement ids) && ids.ValueKind == JsonValueKind.Array ? [.. ids.EnumerateArray().Select(id => id.GetInt32())] : default;

    private static int NumberOf(JsonElement element, string name) =>
        element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetInt32() : 0;
}

/// <summary>Reads log-probabilities in the two spellings of the protocol.</summary>
internal static class LogprobReader
{
    private const string TokenIdPrefix = "token_id:";

    /// <summary>One entry per token of the choice's chunk; empty if there are none.</summary>
    public static ImmutableArray<TokenLogprob> Read(JsonElement choice, ImmutableArray<int> ids)
    {
        if (!choice.TryGetProperty("logprobs", out JsonElement logprobs) || logprobs.ValueKind != JsonValueKind.Object)
            return [];
        if (logprobs.TryGetProperty("content", out JsonElement content))
            return content.ValueKind == JsonValueKind.Array ? [.. content.EnumerateArray().Select((entry, i) => ReadChat(entry, IdAt(ids, i)))] : [];
        return logprobs.TryGetProperty("tokens", out JsonElement tokens) && tokens.ValueKind == JsonValueKind.Array ? ReadCompletion(logprobs, tokens, ids) : [];
    }

    private static TokenLogprob ReadChat(JsonElement entry, int? id) => new(
        ReadAlternative(entry, id),
        entry.TryGetProperty("top_logprobs", out JsonElement top) && top.ValueKind == JsonValueKind.Array
            ? [.. top.EnumerateArray().Select(alternative => ReadAlternative(alternative, null))]
            : []);

    private static TokenAlternative ReadAlternative(JsonElement entry, int? id)
    {
        string text = entry.GetProperty("token").GetString() ?? "";
        ImmutableArray<byte> bytes = entry.TryGetProperty("bytes", out JsonElement values) && values.ValueKind == JsonValueKind.Array
            ? [.. values.EnumerateArray().Select(value => value.GetByte())]
            : [];
        return new TokenAlternative(id ?? IdOf(text), text, bytes, entry.GetProperty("logprob").GetSingle());
    }

    private static ImmutableArray<TokenLogprob> ReadCompletion(JsonElement logprobs, JsonElement tokens, ImmutableArray<int> ids)
    {
        JsonElement values = logprobs.GetProperty("token_logprobs");
        logprobs.TryGetProperty("top_logprobs", out JsonElement top);
        ImmutableArray<TokenLogprob>.Builder result = ImmutableArray.CreateBuilder<TokenLogprob>(tokens.GetArrayLength());
        for (int i = 0; i < tokens.GetArrayLength(); i++)
        {
            string text = tokens[i].GetString() ?? "";
            float value = values[i].ValueKind == JsonValueKind.Number ? values[i].GetSingle() : float.NaN;
            ImmutableArray<TokenAlternative> alternatives = top.ValueKind == JsonValueKind.Array && i < top.GetArrayLength() && top[i].ValueKind == JsonValueKind.Object
                ? [.. top[i].EnumerateObject().Select(property => new TokenAlternative(IdOf(property.Name), property.Name, [], property.Value.GetSingle()))]
                : [];
            result.Add(new TokenLogprob(new TokenAlternative(IdAt(ids, i) ?? IdOf(text), text, [], value), alternatives));
        }
        return result.MoveToImmutable();
    }

    private static int? IdAt(ImmutableArray<int> ids, int index) => !ids.IsDefault && index < ids.Length ? ids[index] : null;

    private static int IdOf(string text) =>
        text.StartsWith(TokenIdPrefix, StringComparison.Ordinal)
        && int.TryParse(text.AsSpan(TokenIdPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int id) ? id : ChunkParser.UnknownToken;
}
