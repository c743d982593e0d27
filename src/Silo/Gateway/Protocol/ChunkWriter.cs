using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>
/// Turns a session's events into server-sent events, one <c>data:</c> line each. A chunk is a pure function of the events
/// up to it, so a resumed stream repeats the same bytes: events before the resume point only move the state on.
/// </summary>
internal abstract class ChunkWriter : IDisposable
{
    private static readonly JsonEncodedText Id = JsonEncodedText.Encode("id");
    private static readonly JsonEncodedText Object = JsonEncodedText.Encode("object");
    private static readonly JsonEncodedText Created = JsonEncodedText.Encode("created");
    private static readonly JsonEncodedText Model = JsonEncodedText.Encode("model");
    private static readonly JsonEncodedText Number = JsonEncodedText.Encode("sequence_number");
    private static readonly JsonEncodedText Choices = JsonEncodedText.Encode("choices");
    private static readonly JsonEncodedText UsageName = JsonEncodedText.Encode("usage");

    private readonly PipeWriter _output;
    private readonly bool[] _started;
    private readonly JsonEncodedText _id;
    private readonly JsonEncodedText _model;
    private readonly JsonEncodedText _object;
    private readonly int _promptTokens;
    private int _completionTokens;

    /// <summary>Writes chunks of a session to a response body.</summary>
    protected ChunkWriter(SessionDescription session, PipeWriter output, string objectName)
    {
        Session = session;
        _output = output;
        _id = JsonEncodedText.Encode(session.Id, JsonText.Options.Encoder);
        _model = JsonEncodedText.Encode(session.Model, JsonText.Options.Encoder);
        _object = JsonEncodedText.Encode(objectName);
        _started = new bool[session.Prompts.Length * session.Choices];
        _promptTokens = session.Prompts.Sum(prompt => prompt.TokenIds.Length);
        Json = new Utf8JsonWriter(output, JsonText.Options);
        Logprobs = new LogprobWriter(session.Presentation.TokensAsTokenIds);
    }

    /// <summary>The session; replaced when its prompt's log-probabilities have become known.</summary>
    public SessionDescription Session { get; set; }

    /// <summary>The one writer of the stream.</summary>
    protected Utf8JsonWriter Json { get; }

    /// <summary>Writes log-probabilities as the request wants them spelled.</summary>
    protected LogprobWriter Logprobs { get; }

    /// <summary>The writer for a session's kind.</summary>
    public static ChunkWriter For(SessionDescription session, PipeWriter output) =>
        session.Kind == RequestKind.Chat ? new ChatChunkWriter(session, output) : new CompletionChunkWriter(session, output);

    /// <summary>Whether <see cref="Session"/> must be asked again before this event: an echo needs the prompt's log-probabilities.</summary>
    public bool NeedsPromptLogprobs(SessionEvent current) =>
        Session.Presentation.Echo && Session.Logprobs is not null && current.Kind != SessionEventKind.Usage
        && !_started[current.Choice] && Session.Prompts[current.Choice / Session.Choices].Logprobs.IsEmpty;

    /// <summary>Takes an event into account, and writes its chunk unless the reader has it already.</summary>
    public void Write(SessionEvent current, bool present)
    {
        if (current.Kind == SessionEventKind.Usage)
        {
            if (present && Session.Presentation.IncludeUsage)
                WriteUsage(current);
            return;
        }
        bool first = !_started[current.Choice];
        _started[current.Choice] = true;
        if (current.Kind == SessionEventKind.Token)
            _completionTokens++;
        if (!present)
        {
            Skip(current, first);
            return;
        }
        Begin(current);
        Json.WriteStartArray(Choices);
        WriteChoice(current, first);
        Json.WriteEndArray();
        WriteTail(current, first);
        if (Session.Presentation.IncludeUsage)
            WriteUsageSoFar();
        End();
    }

    /// <summary>Writes <c>[DONE]</c>.</summary>
    public void WriteDone() => _output.Write("data: [DONE]\n\n"u8);

    /// <summary>Writes an error event.</summary>
    public void WriteError(ApiError error)
    {
        _output.Write("data: "u8);
        error.Write(Json);
        End(closeObject: false);
    }

    /// <inheritdoc/>
    public void Dispose() => Json.Dispose();

    /// <summary>Writes the choice object of a chunk.</summary>
    protected abstract void WriteChoice(SessionEvent current, bool first);

    /// <summary>Moves the state on over an event the reader already has.</summary>
    protected abstract void Skip(SessionEvent current, bool first);

    /// <summary>Writes members after the choices.</summary>
    protected virtual void WriteTail(SessionEvent current, bool first)
    {
    }

    /// <summary>Writes finish_reason and vLLM's stop_reason.</summary>
    protected void WriteFinish(SessionEvent current)
    {
        Json.WriteString("finish_reason"u8, current.FinishReason);
        if (current.StopToken is { } token)
            Json.WriteNumber("stop_reason"u8, token);
        else
            Json.WriteString("stop_reason"u8, current.StopString);
    }

    /// <summary>Writes the token ids a chunk adds.</summary>
    protected void WriteTokenIds(SessionEvent current)
    {
        Json.WriteStartArray("token_ids"u8);
        if (current.Kind == SessionEventKind.Token)
            Json.WriteNumberValue(current.TokenId);
        Json.WriteEndArray();
    }

    /// <summary>Writes a prompt's token ids.</summary>
    protected void WritePromptTokenIds(int prompt)
    {
        Json.WriteStartArray("prompt_token_ids"u8);
        foreach (int token in Session.Prompts[prompt].TokenIds)
            Json.WriteNumberValue(token);
        Json.WriteEndArray();
    }

    private void WriteUsage(SessionEvent current)
    {
        Begin(current);
        Json.WriteStartArray(Choices);
        Json.WriteEndArray();
        UsageWriter.Write(Json, current.Usage!, withDetails: true);
        End();
    }

    private void WriteUsageSoFar()
    {
        if (Session.Presentation.ContinuousUsage)
            UsageWriter.Write(Json, new TokenUsage(_promptTokens, _completionTokens, 0), withDetails: false);
        else
            Json.WriteNull(UsageName);
    }

    private void Begin(SessionEvent current)
    {
        _output.Write("data: "u8);
        Json.WriteStartObject();
        Json.WriteString(Id, _id);
        Json.WriteString(Object, _object);
        Json.WriteNumber(Created, Session.Created);
        Json.WriteString(Model, _model);
        Json.WriteNumber(Number, current.SequenceNumber);
    }

    private void End(bool closeObject = true)
    {
        if (closeObject)
            Json.WriteEndObject();
        Json.Flush();
        Json.Reset();
        _output.Write("\n\n"u8);
    }
}
