using System.Text;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Collects a session's events and writes the unary answer.</summary>
internal sealed class AnswerWriter
{
    private readonly List<Choice> _choices;
    private TokenUsage? _usage;

    /// <summary>Collects for a session.</summary>
    public AnswerWriter(SessionDescription session) =>
        _choices = [.. Enumerable.Range(0, session.Prompts.Length * session.Choices).Select(_ => new Choice())];

    /// <summary>Whether the last event has come.</summary>
    public bool IsComplete => _usage is not null;

    /// <summary>Reasons why the choices ended, for telemetry.</summary>
    public IEnumerable<string> FinishReasons => _choices.Select(choice => choice.FinishReason ?? "");

    /// <summary>Takes an event.</summary>
    public void Add(SessionEvent current)
    {
        if (current.Kind == SessionEventKind.Usage)
        {
            _usage = current.Usage;
            return;
        }
        Choice choice = _choices[current.Choice];
        choice.Text.Append(current.Text);
        if (current.Kind == SessionEventKind.Token)
            choice.TokenIds.Add(current.TokenId);
        if (current.Logprob is { } logprob)
            choice.Logprobs.Add(logprob);
        if (current.Kind == SessionEventKind.Finish)
        {
            choice.FinishReason = current.FinishReason;
            choice.StopString = current.StopString;
            choice.StopToken = current.StopToken;
        }
    }

    /// <summary>Writes the answer; <paramref name="session"/> as it is at the end.</summary>
    public void Write(Utf8JsonWriter json, SessionDescription session)
    {
        bool chat = session.Kind == RequestKind.Chat;
        json.WriteStartObject();
        json.WriteString("id"u8, session.Id);
        json.WriteString("object"u8, chat ? "chat.completion" : CompletionChunkWriter.ObjectName);
        json.WriteNumber("created"u8, session.Created);
        json.WriteString("model"u8, session.Model);
        json.WriteStartArray("choices"u8);
        for (int i = 0; i < _choices.Count; i++)
            WriteChoice(json, session, i);
        json.WriteEndArray();
        UsageWriter.Write(json, _usage!, withDetails: true);
        if (chat && session.Presentation.ReturnTokenIds)
            WriteIds(json, "prompt_token_ids"u8, session.Prompts[0].TokenIds.AsSpan());
        json.WriteEndObject();
    }

    private void WriteChoice(Utf8JsonWriter json, SessionDescription session, int index)
    {
        Choice choice = _choices[index];
        PromptDescription prompt = session.Prompts[index / session.Choices];
        json.WriteStartObject();
        json.WriteNumber("index"u8, index);
        if (session.Kind == RequestKind.Chat)
            WriteMessage(json, choice);
        else
            json.WriteString("text"u8, session.Presentation.Echo ? prompt.Text + choice.Text : choice.Text.ToString());
        WriteLogprobs(json, session, choice, prompt);
        json.WriteString("finish_reason"u8, choice.FinishReason);
        if (choice.StopToken is { } token)
            json.WriteNumber("stop_reason"u8, token);
        else
            json.WriteString("stop_reason"u8, choice.StopString);
        if (session.Presentation.ReturnTokenIds)
        {
            WriteIds(json, "token_ids"u8, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(choice.TokenIds));
            if (session.Kind == RequestKind.Completion)
                WriteIds(json, "prompt_token_ids"u8, prompt.TokenIds.AsSpan());
        }
        json.WriteEndObject();
    }

    private static void WriteMessage(Utf8JsonWriter json, Choice choice)
    {
        json.WriteStartObject("message"u8);
        json.WriteString("role"u8, "assistant"u8);
        json.WriteString("content"u8, choice.Text.ToString());
        json.WriteNull("refusal"u8);
        json.WriteEndObject();
    }

    private static void WriteLogprobs(Utf8JsonWriter json, SessionDescription session, Choice choice, PromptDescription prompt)
    {
        if (session.Logprobs is null)
        {
            json.WriteNull("logprobs"u8);
            return;
        }
        var writer = new LogprobWriter(session.Presentation.TokensAsTokenIds);
        json.WritePropertyName("logprobs"u8);
        ReadOnlySpan<TokenLogprob> own = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(choice.Logprobs);
        if (session.Kind == RequestKind.Chat)
            writer.WriteChat(json, own);
        else
            writer.WriteCompletion(json, session.Presentation.Echo ? [.. prompt.Logprobs, .. own] : own, offset: 0);
    }

    private static void WriteIds(Utf8JsonWriter json, ReadOnlySpan<byte> name, ReadOnlySpan<int> ids)
    {
        json.WriteStartArray(name);
        foreach (int id in ids)
            json.WriteNumberValue(id);
        json.WriteEndArray();
    }

    /// <summary>What one choice has become.</summary>
    private sealed class Choice
    {
        public StringBuilder Text { get; } = new();

        public List<int> TokenIds { get; } = [];

        public List<TokenLogprob> Logprobs { get; } = [];

        public string? FinishReason { get; set; }

        public string? StopString { get; set; }

        public int? StopToken { get; set; }
    }
}
