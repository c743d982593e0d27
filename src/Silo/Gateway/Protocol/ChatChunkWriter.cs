using System.IO.Pipelines;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Chunks of a chat (object <c>chat.completion.chunk</c>).</summary>
internal sealed class ChatChunkWriter(SessionDescription session, PipeWriter output) : ChunkWriter(session, output, "chat.completion.chunk")
{
    private static readonly JsonEncodedText Index = JsonEncodedText.Encode("index");
    private static readonly JsonEncodedText Delta = JsonEncodedText.Encode("delta");
    private static readonly JsonEncodedText Content = JsonEncodedText.Encode("content");
    private static readonly JsonEncodedText LogprobsName = JsonEncodedText.Encode("logprobs");

    /// <inheritdoc/>
    protected override void WriteChoice(SessionEvent current, bool first)
    {
        Json.WriteStartObject();
        Json.WriteNumber(Index, current.Choice);
        Json.WriteStartObject(Delta);
        if (first)
            Json.WriteString("role"u8, "assistant"u8);
        if (first || current.Kind == SessionEventKind.Token || current.Text.Length > 0)
            Json.WriteString(Content, current.Text);
        Json.WriteEndObject();
        if (Session.Logprobs is not null && current.Logprob is { } own)
        {
            Json.WritePropertyName(LogprobsName);
            Logprobs.WriteChat(Json, [own]);
        }
        else
        {
            Json.WriteNull(LogprobsName);
        }
        WriteFinish(current);
        if (Session.Presentation.ReturnTokenIds)
            WriteTokenIds(current);
        Json.WriteEndObject();
    }

    /// <inheritdoc/>
    protected override void WriteTail(SessionEvent current, bool first)
    {
        if (Session.Presentation.ReturnTokenIds && current.SequenceNumber == 0)
            WritePromptTokenIds(0);
    }

    /// <inheritdoc/>
    protected override void Skip(SessionEvent current, bool first)
    {
        // A chat chunk depends on nothing but its event and whether the choice has begun.
    }
}
