using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Parses request bodies strictly and says in the protocol's own words what is wrong.</summary>
internal static class JsonBody
{
    /// <summary>Deepest nesting accepted.</summary>
    public const int MaxDepth = 64;

    private const int ExcerptBytes = 24;
    private const int LongestName = 100;

    /// <summary>Parses a JSON object; the caller disposes the document.</summary>
    /// <exception cref="RequestRejectedException">Not UTF-8, not JSON, repeated members, too deep, or no object.</exception>
    public static JsonDocument Parse(ReadOnlyMemory<byte> body)
    {
        if (body.Span.StartsWith("\uFEFF"u8))
            body = body[3..];
        if (body.Span.Trim(" \t\r\n"u8).IsEmpty)
            throw Refuse("The request body is empty; it must be a JSON object.");
        if (!Utf8.IsValid(body.Span))
            throw Refuse($"The request body is not valid UTF-8: first wrong byte at position {FirstInvalid(body.Span)}.");
        Scan(body.Span);
        JsonDocument document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = MaxDepth });
        if (document.RootElement.ValueKind == JsonValueKind.Object)
            return document;
        string kind = JsonKind.Name(document.RootElement.ValueKind);
        document.Dispose();
        throw Refuse($"The request body must be a JSON object, got {kind}.");
    }

    private static RequestRejectedException Refuse(string message, string? parameter = null) =>
        new(RejectionReason.InvalidRequest, message, parameter);

    /// <summary>Checks what the document parser would report in CLR terms or only later: syntax, escapes, repeated members.</summary>
    private static void Scan(ReadOnlySpan<byte> body)
    {
        var reader = new Utf8JsonReader(body, new JsonReaderOptions { MaxDepth = MaxDepth });
        var members = new Stack<HashSet<string>>();
        string? member = null;
        string? topMember = null;
        try
        {
            while (reader.Read())
            {
                switch (reader.TokenType)
                {
                    case JsonTokenType.StartObject:
                        members.Push(new HashSet<string>(StringComparer.Ordinal));
                        break;
                    case JsonTokenType.EndObject:
                        members.Pop();
                        break;
                    case JsonTokenType.PropertyName:
                        member = Text(ref reader, topMember);
                        topMember = reader.CurrentDepth == 1 ? member : topMember;
                        if (!members.Peek().Add(member))
                            throw Refuse($"The field '{Shorten(member)}' is given twice in one object.", Shorten(topMember!));
                        break;
                    case JsonTokenType.String when reader.ValueIsEscaped:
                        Text(ref reader, topMember);
                        break;
                }
            }
        }
        catch (JsonException)
        {
            string problem = SyntaxProblem(body, (int)reader.BytesConsumed, reader.CurrentDepth, member, out bool isNonFinite);
            // Broken syntax is the body's fault; only a number that JSON cannot write is a field's.
            throw Refuse(problem, isNonFinite && topMember is not null ? Shorten(topMember) : null);
        }
    }

    private static string Text(ref Utf8JsonReader reader, string? field)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw Refuse($"A string at byte {reader.TokenStartIndex} holds an escape of half a surrogate pair, which is no Unicode text.", field);
        }
    }

    private static string SyntaxProblem(ReadOnlySpan<byte> body, int position, int depth, string? member, out bool isNonFinite)
    {
        isNonFinite = false;
        // The reader stops before it enters the level beyond the limit.
        if (depth >= MaxDepth - 1 && position < body.Length && body[position] is (byte)'[' or (byte)'{')
            return $"The request body is nested deeper than {MaxDepth} levels (at byte {position}).";
        while (position < body.Length && body[position] is (byte)' ' or (byte)':' or (byte)'\n' or (byte)'\r' or (byte)'\t')
            position++;
        string where = member is null ? "" : $", in or after the field '{Shorten(member)}'";
        if (position >= body.Length)
            return $"The request body is not valid JSON: it ends at byte {position}{where}.";
        ReadOnlySpan<byte> rest = body[position..Math.Min(body.Length, position + ExcerptBytes)];
        isNonFinite = rest.StartsWith("NaN"u8) || rest.StartsWith("Infinity"u8) || rest.StartsWith("-Infinity"u8);
        string note = isNonFinite ? " NaN and Infinity are not JSON numbers." : "";
        return $"The request body is not valid JSON at byte {position}{where}, near '{Excerpt(rest)}'.{note}";
    }

    private static string Shorten(string name) => name.Length <= LongestName ? name : name[..LongestName] + "...";

    private static string Excerpt(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        foreach (byte b in bytes)
            text.Append(b is >= 0x20 and < 0x7F ? (char)b : '?');
        return text.ToString();
    }

    private static int FirstInvalid(ReadOnlySpan<byte> body)
    {
        int position = 0;
        while (position < body.Length && Rune.DecodeFromUtf8(body[position..], out _, out int consumed) == System.Buffers.OperationStatus.Done)
            position += consumed;
        return position;
    }
}

/// <summary>JSON's own words for kinds of values.</summary>
internal static class JsonKind
{
    /// <summary>For example <c>a string</c>.</summary>
    public static string Name(JsonValueKind kind) => kind switch
    {
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "a boolean",
        JsonValueKind.Array => "an array",
        JsonValueKind.Object => "an object",
        _ => "null",
    };
}
