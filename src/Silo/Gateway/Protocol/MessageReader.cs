using System.Text;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>
/// Reads one chat message. Templates of text models expect a string as content, so text parts are joined by newlines, and
/// tool-call arguments as an object, so their JSON text is opened (both as vLLM does).
/// </summary>
internal static class MessageReader
{
    /// <summary>Reads a message at <paramref name="path"/>.</summary>
    public static ChatMessage Read(JsonElement element, string path)
    {
        var fields = new FieldReader(element, path);
        string role = fields.Text("role") ?? throw FieldReader.Refuse(fields.PathOf("role"), $"The field '{fields.PathOf("role")}' is missing.");
        string? content = Content(fields);
        return new ChatMessage
        {
            Role = role,
            Content = content,
            Json = fields.Unknown.Count > 0 ? Rewrite(element, role, content, path) : null,
        };
    }

    private static string? Content(FieldReader fields)
    {
        if (fields.Take("content") is not { } value)
            return null;
        if (value.ValueKind == JsonValueKind.String)
            return value.GetString();
        string path = fields.PathOf("content");
        if (value.ValueKind != JsonValueKind.Array)
            throw FieldReader.Wrong(path, "a string or an array of text parts", value);
        return string.Join('\n', value.EnumerateArray().Select((part, i) => TextPart(part, $"{path}[{i}]")));
    }

    private static string TextPart(JsonElement part, string path)
    {
        if (part.ValueKind == JsonValueKind.String)
            return part.GetString()!;
        var fields = new FieldReader(part, path);
        string type = fields.Text("type") ?? "text";
        if (type != "text")
            throw FieldReader.Refuse(fields.PathOf("type"), $"The field '{fields.PathOf("type")}' must be text, got '{type}': only text is supported.");
        return fields.Text("text") ?? throw FieldReader.Refuse(fields.PathOf("text"), $"The field '{fields.PathOf("text")}' is missing.");
    }

    private static string Rewrite(JsonElement element, string role, string? content, string path)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("role", role);
            writer.WriteString("content", content);
            foreach (JsonProperty property in element.EnumerateObject())
            {
                if (property.Name is "role" or "content")
                    continue;
                writer.WritePropertyName(property.Name);
                if (property.Name == "tool_calls" && property.Value.ValueKind == JsonValueKind.Array)
                    WriteToolCalls(writer, property.Value, $"{path}.tool_calls");
                else
                    property.Value.WriteTo(writer);
            }
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    private static void WriteToolCalls(Utf8JsonWriter writer, JsonElement calls, string path)
    {
        writer.WriteStartArray();
        int index = 0;
        foreach (JsonElement call in calls.EnumerateArray())
            WriteOpened(writer, call, $"{path}[{index++}]", opensFunction: true);
        writer.WriteEndArray();
    }

    /// <summary>Copies an object; <c>function.arguments</c> becomes an object.</summary>
    private static void WriteOpened(Utf8JsonWriter writer, JsonElement element, string path, bool opensFunction)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw FieldReader.Wrong(path, "an object", element);
        writer.WriteStartObject();
        foreach (JsonProperty property in element.EnumerateObject())
        {
            writer.WritePropertyName(property.Name);
            string name = $"{path}.{property.Name}";
            if (opensFunction && property.Name == "function")
                WriteOpened(writer, property.Value, name, opensFunction: false);
            else if (!opensFunction && property.Name == "arguments" && property.Value.ValueKind == JsonValueKind.String)
                WriteArguments(writer, property.Value.GetString()!, name);
            else
                property.Value.WriteTo(writer);
        }
        writer.WriteEndObject();
    }

    private static void WriteArguments(Utf8JsonWriter writer, string text, string path)
    {
        if (text.Length == 0)
        {
            writer.WriteStartObject();
            writer.WriteEndObject();
            return;
        }
        try
        {
            using JsonDocument arguments = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = JsonBody.MaxDepth });
            arguments.RootElement.WriteTo(writer);
        }
        catch (JsonException)
        {
            throw FieldReader.Refuse(path, $"The field '{path}' must be JSON text of an object.");
        }
    }
}
