using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Cluster.Contracts;
using Cluster.Kernels.Models;

namespace Cluster.Grains;

/// <summary>What generation_config.json says: sampling defaults, and the complete list of end-of-sequence tokens.</summary>
/// <param name="Sampling">Defaults, all members filled in.</param>
/// <param name="EndTokens">End-of-sequence ids; empty when the file names none.</param>
internal sealed record GenerationDefaults(SamplingOptions Sampling, ImmutableArray<int> EndTokens)
{
    private const string File = "generation_config.json";
    private const int MaxBytes = 1 << 20;
    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 32, AllowDuplicateProperties = false };

    /// <summary>No file: the plain distribution.</summary>
    public static GenerationDefaults Neutral { get; } = new(
        new SamplingOptions { Temperature = 1, TopK = 0, TopP = 1, MinP = 0, RepetitionPenalty = 1 }, []);

    /// <summary>Reads the file of a checkpoint folder; neutral when there is none.</summary>
    /// <exception cref="CheckpointFormatException">The file is damaged or a value is outside its limits.</exception>
    public static GenerationDefaults Read(string folder, int vocabularySize)
    {
        string path = Path.Combine(folder, File);
        if (!System.IO.File.Exists(path))
            return Neutral;
        using JsonDocument document = Parse(path);
        JsonElement root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object)
            throw new CheckpointFormatException(File, "file", "a JSON object", root.ValueKind.ToString());
        var sampling = new SamplingOptions
        {
            Temperature = (float)Number(root, "temperature", 0, 2, otherwise: 1),
            TopK = (int)Number(root, "top_k", -1, int.MaxValue, otherwise: 0, isWhole: true),
            TopP = (float)Number(root, "top_p", double.Epsilon, 1, otherwise: 1),
            MinP = (float)Number(root, "min_p", 0, 1, otherwise: 0),
            RepetitionPenalty = (float)Number(root, "repetition_penalty", double.Epsilon, 2, otherwise: 1),
        };
        return new GenerationDefaults(sampling, EndTokensOf(root, vocabularySize));
    }

    private static JsonDocument Parse(string path)
    {
        try
        {
            long length = new FileInfo(path).Length;
            if (length > MaxBytes)
                throw new CheckpointFormatException(File, "file", $"at most {MaxBytes} bytes", $"{length} bytes");
            return JsonDocument.Parse(System.IO.File.ReadAllBytes(path), Strict);
        }
        catch (JsonException e)
        {
            throw new CheckpointFormatException(File, "file", "JSON with unique keys", e.Message, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointFormatException(File, "file", "a readable file", e.Message, e);
        }
    }

    private static double Number(JsonElement root, string field, double minimum, double maximum, double otherwise, bool isWhole = false)
    {
        if (!root.TryGetProperty(field, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return otherwise;
        if (value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number)
            && number >= minimum && number <= maximum && (!isWhole || double.IsInteger(number)))
            return number;
        string low = minimum == double.Epsilon ? "above 0" : string.Create(CultureInfo.InvariantCulture, $"at least {minimum}");
        throw new CheckpointFormatException(
            File, field, string.Create(CultureInfo.InvariantCulture, $"a {(isWhole ? "whole " : "")}number {low} and at most {maximum}"), value.GetRawText());
    }

    private static ImmutableArray<int> EndTokensOf(JsonElement root, int vocabularySize)
    {
        const string Field = "eos_token_id";
        if (!root.TryGetProperty(Field, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
            return [];
        JsonElement[] items = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
        return [.. items.Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int id) && id >= 0 && id < vocabularySize
            ? id
            : throw new CheckpointFormatException(File, Field, $"token ids 0..{vocabularySize - 1}", item.GetRawText()))];
    }
}
