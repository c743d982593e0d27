using System.Text;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Grains.Text;

/// <summary>The messages of a request as the JSON that a template reads.</summary>
internal static class ChatMessageJson
{
    /// <exception cref="ChatTemplateException">A message is not valid JSON or not valid text.</exception>
    public static string Write(IReadOnlyList<ChatMessage> messages)
    {
        using var content = new MemoryStream();
        using (var writer = new Utf8JsonWriter(content))
        {
            writer.WriteStartArray();
            for (int i = 0; i < messages.Count; i++)
                Write(writer, messages[i], i);
            writer.WriteEndArray();
        }

        return Encoding.UTF8.GetString(content.GetBuffer(), 0, (int)content.Length);
    }

    private static void Write(Utf8JsonWriter writer, ChatMessage message, int index)
    {
        try
        {
            if (message.Json is { } json)
            {
                writer.WriteRawValue(json);
                return;
            }

            writer.WriteStartObject();
            writer.WriteString("role", message.Role);
            writer.WriteString("content", message.Content);
            writer.WriteEndObject();
        }
        catch (Exception exception) when (exception is JsonException or ArgumentException)
        {
            throw new ChatTemplateException(
                ChatTemplateFailure.Evaluation, $"messages[{index}] is not valid: {exception.Message}", exception);
        }
    }
}
