using System.Globalization;
using System.Text.Json;

namespace Cluster.Kernels.Models;

/// <summary>Where one tensor lies in the data part of a safetensors file.</summary>
/// <param name="Name">Name of the tensor.</param>
/// <param name="DType">The file's spelling of the element type, such as <c>BF16</c>.</param>
/// <param name="Shape">Sizes, outermost first.</param>
/// <param name="Begin">First byte, counted from the end of the header.</param>
/// <param name="End">Byte after the last one.</param>
internal sealed record TensorEntry(string Name, string DType, IReadOnlyList<long> Shape, long Begin, long End);

/// <summary>
/// The JSON header of a safetensors file. Everything that the data is later read by is checked here, once: names are
/// unique, byte ranges fit shape and type, and together they cover the data exactly, without gap or overlap (the
/// format's own rule, huggingface/safetensors README).
/// </summary>
internal static class SafetensorsHeader
{
    /// <summary>Most bytes of a header. 100 MB, the format's own limit.</summary>
    public const long MaxLength = 100_000_000;

    private const int MaxDimensions = 8;

    /// <summary>Reads the header of <paramref name="file"/>, whose data part has <paramref name="dataLength"/> bytes.</summary>
    /// <exception cref="CheckpointFormatException">The header breaks a rule.</exception>
    public static List<TensorEntry> Parse(string file, ReadOnlySpan<byte> json, long dataLength)
    {
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 16 });
            List<TensorEntry> entries = ReadEntries(file, ref reader, dataLength);
            while (reader.Read()) { }
            CheckCoverage(file, entries, dataLength);
            return entries;
        }
        // GetString throws InvalidOperationException for text that is not UTF-8.
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new CheckpointFormatException(file, "header", "a JSON object", $"invalid JSON ({e.Message})", e);
        }
    }

    /// <summary>Bytes of one element of a type as the file spells it; 0 when the spelling is unknown.</summary>
    public static int ElementSize(string type) => type switch
    {
        "BOOL" or "U8" or "I8" or "F8_E5M2" or "F8_E4M3" => 1,
        "U16" or "I16" or "F16" or "BF16" => 2,
        "U32" or "I32" or "F32" => 4,
        "U64" or "I64" or "F64" => 8,
        _ => 0,
    };

    private static List<TensorEntry> ReadEntries(string file, ref Utf8JsonReader reader, long dataLength)
    {
        Expect(file, "header", ref reader, JsonTokenType.StartObject, "a JSON object");
        var entries = new List<TensorEntry>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (!names.Add(name))
                throw new CheckpointFormatException(file, $"header entry {name}", "unique", "there twice");
            if (name == "__metadata__")
            {
                Expect(file, name, ref reader, JsonTokenType.StartObject, "a JSON object");
                reader.Skip();
            }
            else
            {
                entries.Add(ReadEntry(file, name, ref reader, dataLength));
            }
        }
        return entries;
    }

    private static TensorEntry ReadEntry(string file, string name, ref Utf8JsonReader reader, long dataLength)
    {
        Expect(file, $"tensor {name}", ref reader, JsonTokenType.StartObject, "a JSON object");
        string? type = null;
        List<long>? shape = null, offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            string field = $"tensor {name}: {key}";
            switch (key)
            {
                case "dtype" when type is null:
                    Expect(file, field, ref reader, JsonTokenType.String, "a string");
                    type = reader.GetString()!;
                    break;
                case "shape" when shape is null:
                    shape = ReadNumbers(file, field, ref reader, MaxDimensions);
                    break;
                case "data_offsets" when offsets is null:
                    offsets = ReadNumbers(file, field, ref reader, 2);
                    break;
                default:
                    throw new CheckpointFormatException(file, field, "one of dtype, shape, data_offsets, once each", "another key or a repetition");
            }
        }
        return Check(file, name, type, shape, offsets, dataLength);
    }

    private static TensorEntry Check(string file, string name, string? type, List<long>? shape, List<long>? offsets, long dataLength)
    {
        if (type is null || shape is null || offsets is not [long begin, long end])
            throw new CheckpointFormatException(file, $"tensor {name}", "dtype, shape and two data_offsets", "incomplete");
        int size = ElementSize(type);
        if (size == 0)
            throw new CheckpointFormatException(file, $"tensor {name}: dtype", "a type of the safetensors format", type);
        if (begin > end || end > dataLength)
            throw new CheckpointFormatException(file, $"tensor {name}: data_offsets", $"an ascending range within 0..{dataLength}", $"[{begin}, {end}]");
        UInt128 bytes = (UInt128)size;
        foreach (long dimension in shape)
        {
            bytes *= (UInt128)dimension;
            if (bytes > long.MaxValue)
                break;
        }
        if (bytes != (UInt128)(end - begin))
            throw new CheckpointFormatException(file, $"tensor {name}: data_offsets", $"{bytes} bytes for {type} [{string.Join(", ", shape)}]", $"{end - begin} bytes");
        return new TensorEntry(name, type, shape, begin, end);
    }

    private static List<long> ReadNumbers(string file, string field, ref Utf8JsonReader reader, int limit)
    {
        Expect(file, field, ref reader, JsonTokenType.StartArray, "an array");
        var numbers = new List<long>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
                throw new CheckpointFormatException(file, field, "whole numbers of 0 or more", Text(ref reader));
            numbers.Add(number);
            if (numbers.Count > limit)
                throw new CheckpointFormatException(file, field, $"at most {limit} numbers", "more");
        }
        return numbers;
    }

    private static void CheckCoverage(string file, List<TensorEntry> entries, long dataLength)
    {
        long position = 0;
        foreach (TensorEntry entry in entries.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End))
        {
            if (entry.Begin != position)
                throw new CheckpointFormatException(file, $"tensor {entry.Name}: data_offsets", $"a range that begins at {position}, where the one before ends",
                    entry.Begin.ToString(CultureInfo.InvariantCulture));
            position = entry.End;
        }
        if (position != dataLength)
            throw new CheckpointFormatException(file, "data", $"{position} bytes, as the header says", $"{dataLength} bytes");
    }

    private static void Expect(string file, string field, ref Utf8JsonReader reader, JsonTokenType type, string limit)
    {
        if (!reader.Read() || reader.TokenType != type)
            throw new CheckpointFormatException(file, field, limit, Text(ref reader));
    }

    private static string Text(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.Number => System.Text.Encoding.UTF8.GetString(reader.ValueSpan[..Math.Min(reader.ValueSpan.Length, 40)]),
        JsonTokenType.None => "nothing",
        var type => type.ToString(),
    };
}
