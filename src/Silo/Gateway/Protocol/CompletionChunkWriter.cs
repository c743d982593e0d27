using System.IO.Pipelines;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Chunks of a completion (object <c>text_completion</c>).</summary>
internal sealed class CompletionChunkWriter : ChunkWriter
{
    /// <summary>Name of the object, streamed or not.</summary>
    public const string ObjectName = "text_completion";

    private static readonly JsonEncodedText Index = JsonEncodedText.Encode("index");
    private static readonly JsonEncodedText Text = JsonEncodedText.Encode("text");
    private static readonly JsonEncodedText LogprobsName = JsonEncodedText.Encode("logprobs");

    private readonly int[] _offsets;

    /// <summary>Writes chunks of a completion.</summary>
    public CompletionChunkWriter(SessionDescription session, PipeWriter output)
        : base(session, output, ObjectName) => _offsets = new int[session.Prompts.Length * session.Choices];

    /// <inheritdoc/>
    protected override void WriteChoice(SessionEvent current, bool first)
    {
        PromptDescription prompt = Session.Prompts[current.Choice / Session.Choices];
        bool echoed = first && Session.Presentation.Echo;
        Json.WriteStartObject();
        Json.WriteNumber(Index, current.Choice);
        Json.WriteString(Text, echoed ? prompt.Text + current.Text : current.Text);
        WriteLogprobs(current, echoed ? [.. prompt.Logprobs] : []);
        WriteFinish(current);
        if (Session.Presentation.ReturnTokenIds)
        {
            WriteTokenIds(current);
            if (first)
                WritePromptTokenIds(current.Choice / Session.Choices);
        }
        Json.WriteEndObject();
    }

    /// <inheritdoc/>
    protected override void Skip(SessionEvent current, bool first)
    {
        if (first && Session.Presentation.Echo)
            _offsets[current.Choice] += Session.Prompts[current.Choice / Session.Choices].Logprobs.Sum(token => LogprobWriter.CodePoints(token.Token.Text));
        if (current.Logprob is { } own)
            _offsets[current.Choice] += LogprobWriter.CodePoints(own.Token.Text);
    }

    private void WriteLogprobs(SessionEvent current, ReadOnlySpan<TokenLogprob> echoed)
    {
        if (Session.Logprobs is null || (current.Logprob is null && echoed.IsEmpty))
        {
            Json.WriteNull(LogprobsName);
            return;
        }
        Json.WritePropertyName(LogprobsName);
        ReadOnlySpan<TokenLogprob> tokens = current.Logprob is { } own ? [.. echoed, own] : echoed;
        _offsets[current.Choice] = Logprobs.WriteCompletion(Json, tokens, _offsets[current.Choice]);
    }
}
