using System.Collections.Immutable;
using System.Text;
using System.Text.Json;

namespace Cluster.Cli.Bench;

/// <summary>One prompt: token ids, or text when <see cref="Text"/> is set.</summary>
/// <param name="Text">Text, or null.</param>
/// <param name="TokenIds">Token ids.</param>
/// <param name="InputLength">Length in tokens as far as known before the server says it (words for text).</param>
internal sealed record BenchPrompt(string? Text, ImmutableArray<int> TokenIds, int InputLength);

/// <summary>Random prompts of a wanted length; a pure function of its arguments.</summary>
internal static class RandomPrompts
{
    // Ids below are specials in many vocabularies.
    private const int FirstId = 10;

    private static readonly string[] Words =
    [
        "the", "of", "and", "time", "water", "people", "little", "before", "house", "never", "light", "under", "story", "great", "because", "animal",
        "letter", "mother", "answer", "study", "still", "learn", "plant", "cover", "food", "between", "state", "keep", "city", "tree", "cross", "farm",
        "hard", "start", "might", "far", "sea", "draw", "left", "late", "run", "while", "press", "close", "night", "real", "life", "few",
    ];

    /// <summary>Prompts of <paramref name="length"/> token ids (or words), each length drawn within +-<paramref name="rangeRatio"/>.</summary>
    /// <param name="count">How many.</param>
    /// <param name="length">Token ids or words.</param>
    /// <param name="prefixLength">Further ones at the beginning that all prompts share.</param>
    /// <param name="rangeRatio">0 = all the same length.</param>
    /// <param name="vocabularySize">Ids are below this; 0 = words instead of ids.</param>
    /// <param name="seed">Same seed, same prompts.</param>
    public static ImmutableArray<BenchPrompt> Create(int count, int length, int prefixLength, double rangeRatio, int vocabularySize, int seed)
    {
        var random = new Random(seed);
        int[] prefix = Draw(random, prefixLength, vocabularySize);
        return [.. Enumerable.Range(0, count).Select(_ => Create(random, prefix, Length(random, length, rangeRatio), vocabularySize))];
    }

    private static BenchPrompt Create(Random random, int[] prefix, int length, int vocabularySize)
    {
        int[] drawn = [.. prefix, .. Draw(random, length, vocabularySize)];
        return vocabularySize > 0
            ? new BenchPrompt(null, [.. drawn], drawn.Length)
            : new BenchPrompt(string.Join(' ', drawn.Select(index => Words[index])), [], drawn.Length);
    }

    private static int Length(Random random, int length, double rangeRatio)
    {
        int low = Math.Max(1, (int)Math.Floor(length * (1 - rangeRatio)));
        int high = Math.Max(low, (int)Math.Ceiling(length * (1 + rangeRatio)));
        return random.Next(low, high + 1);
    }

    private static int[] Draw(Random random, int count, int vocabularySize)
    {
        int low = vocabularySize > FirstId ? FirstId : 0;
        int[] drawn = new int[count];
        for (int i = 0; i < count; i++)
            drawn[i] = vocabularySize > 0 ? random.Next(low, vocabularySize) : random.Next(Words.Length);
        return drawn;
    }
}

/// <summary>Prompts from a JSON-lines file: members turns (spec-bench), question (GSM8K), prompt (HumanEval), instruction or messages.</summary>
internal static class DatasetPrompts
{
    /// <summary>The first <paramref name="count"/> prompts, from the beginning again if there are fewer.</summary>
    /// <exception cref="InvalidDataException">A line is not JSON or has none of the members.</exception>
    public static ImmutableArray<BenchPrompt> Read(string path, int count)
    {
        List<BenchPrompt> prompts = [];
        int lineNumber = 0;
        foreach (string line in File.ReadLines(path, Encoding.UTF8))
        {
            lineNumber++;
            if (prompts.Count == count)
                break;
            if (!string.IsNullOrWhiteSpace(line))
                prompts.Add(Parse(line, path, lineNumber));
        }
        if (prompts.Count == 0)
            throw new InvalidDataException($"{path} has no prompts.");
        return [.. Enumerable.Range(0, count).Select(i => prompts[i % prompts.Count])];
    }

    private static BenchPrompt Parse(string line, string path, int lineNumber)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            string text = Text(document.RootElement) ?? throw new InvalidDataException($"{path}, line {lineNumber}: no member turns, question, prompt, instruction or messages.");
            return new BenchPrompt(text, [], text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length);
        }
        catch (JsonException exception)
        {
            throw new InvalidDataException($"{path}, line {lineNumber}: not JSON ({exception.Message})", exception);
        }
    }

    private static string? Text(JsonElement row)
    {
        if (row.ValueKind != JsonValueKind.Object)
            return null;
        if (row.TryGetProperty("turns", out JsonElement turns) && turns.ValueKind == JsonValueKind.Array && turns.GetArrayLength() > 0)
            return turns[0].GetString();
        foreach (string name in new[] { "question", "prompt", "instruction" })
        {
            if (row.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String)
                return value.GetString();
        }
        return row.TryGetProperty("messages", out JsonElement messages) && messages.ValueKind == JsonValueKind.Array
            ? messages.EnumerateArray().Where(message => message.TryGetProperty("content", out JsonElement content) && content.ValueKind == JsonValueKind.String)
                .Select(message => message.GetProperty("content").GetString()).FirstOrDefault()
            : null;
    }
}
