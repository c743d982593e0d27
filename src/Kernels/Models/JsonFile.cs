using System.Text;
using System.Text.Json;

namespace Cluster.Kernels.Models;

/// <summary>Reads the JSON files of a checkpoint with a size limit and typed errors.</summary>
internal static class JsonFile
{
    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 32, AllowDuplicateProperties = false };

    /// <summary>Parses a file of at most <paramref name="limit"/> bytes and makes something of its root.</summary>
    /// <exception cref="CheckpointFormatException">It is missing, too long or not JSON.</exception>
    public static T Read<T>(string path, int limit, Func<JsonElement, T> make)
    {
        string name = Path.GetFileName(path);
        byte[] bytes = ReadBytes(path, name, limit);
        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes.AsMemory(StartsWithMark(bytes) ? 3 : 0), Strict);
            return make(document.RootElement);
        }
        catch (JsonException e)
        {
            throw new CheckpointFormatException(name, $"line {(e.LineNumber ?? 0) + 1}", "JSON with unique keys", Line(bytes, (int)(e.LineNumber ?? 0)), e);
        }
        // Bytes that are not UTF-8 and escapes of half a surrogate pair show when a string is read.
        catch (InvalidOperationException e)
        {
            throw new CheckpointFormatException(name, "text", "valid Unicode", e.Message, e);
        }
    }

    private static byte[] ReadBytes(string path, string name, int limit)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            if (stream.Length > limit)
                throw new CheckpointFormatException(name, "file", $"at most {limit} bytes", $"{stream.Length} bytes");
            var bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointFormatException(name, "file", "a readable file", e.Message, e);
        }
    }

    private static bool StartsWithMark(ReadOnlySpan<byte> bytes) => bytes.StartsWith("\uFEFF"u8);

    // The offending line names the key, which the parser does not (NaN, for example, is not JSON).
    private static string Line(byte[] bytes, int number)
    {
        string text = Encoding.UTF8.GetString(bytes, 0, Math.Min(bytes.Length, 1 << 20));
        return text.Split('\n').ElementAtOrDefault(number)?.Trim() is { Length: > 0 } line ? line : "the end of the text";
    }
}
