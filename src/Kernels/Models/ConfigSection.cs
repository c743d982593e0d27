using System.Globalization;
using System.Text.Json;

namespace Cluster.Kernels.Models;

/// <summary>A JSON object of config.json whose fields are read with a type and limits.</summary>
/// <param name="File">File name, for messages.</param>
/// <param name="Path">Prefix of field names, such as <c>rope_scaling.</c>, for messages.</param>
/// <param name="Element">The object.</param>
internal readonly record struct ConfigSection(string File, string Path, JsonElement Element)
{
    /// <summary>Whether the field is there and not null.</summary>
    public bool Has(string name) => Element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    /// <summary>Whether the field is there, null or not.</summary>
    public bool Mentions(string name) => Element.TryGetProperty(name, out _);

    /// <summary>A whole number in [minimum, maximum]; <paramref name="otherwise"/> when it is absent or null.</summary>
    public int Integer(string name, int minimum, int maximum, int? otherwise = null)
    {
        string limit = $"a whole number {minimum}..{maximum}";
        if (!Has(name))
            return otherwise ?? throw Error(name, limit, "missing");
        JsonElement value = Element.GetProperty(name);
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= minimum && number <= maximum
            ? number
            : throw Error(name, limit, value.GetRawText());
    }

    /// <summary>A finite number in (above, maximum]; <paramref name="otherwise"/> when it is absent or null.</summary>
    public double Number(string name, double above, double maximum, double? otherwise = null)
    {
        string limit = string.Create(CultureInfo.InvariantCulture, $"a number above {above}, at most {maximum}");
        if (!Has(name))
            return otherwise ?? throw Error(name, limit, "missing");
        JsonElement value = Element.GetProperty(name);
        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && number > above && number <= maximum
            ? number
            : throw Error(name, limit, value.GetRawText());
    }

    /// <summary>true or false; <paramref name="otherwise"/> when it is absent or null.</summary>
    public bool Flag(string name, bool otherwise)
    {
        if (!Has(name))
            return otherwise;
        JsonElement value = Element.GetProperty(name);
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? value.GetBoolean()
            : throw Error(name, "true or false", value.GetRawText());
    }

    /// <summary>A string, or null when it is absent or null.</summary>
    public string? Text(string name)
    {
        if (!Has(name))
            return null;
        JsonElement value = Element.GetProperty(name);
        return value.ValueKind == JsonValueKind.String ? value.GetString() : throw Error(name, "a string", value.GetRawText());
    }

    /// <summary>An array of strings; empty when it is absent or null.</summary>
    public IReadOnlyList<string> Texts(string name) => [.. Items(name, "an array of strings").Select(item => item.GetString()!)];

    /// <summary>One whole number or an array of them, each in [0, limit); empty when it is absent or null.</summary>
    public IReadOnlyList<int> Integers(string name, int limit)
    {
        string rule = $"whole numbers 0..{limit - 1}";
        if (!Has(name))
            return [];
        JsonElement value = Element.GetProperty(name);
        JsonElement[] items = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
        var numbers = new List<int>(items.Length);
        foreach (JsonElement item in items)
            numbers.Add(item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int number) && number >= 0 && number < limit
                ? number
                : throw Error(name, rule, item.GetRawText()));
        return numbers;
    }

    /// <summary>An object inside this one, or null when it is absent or null.</summary>
    public ConfigSection? Section(string name)
    {
        if (!Has(name))
            return null;
        JsonElement value = Element.GetProperty(name);
        return value.ValueKind == JsonValueKind.Object
            ? new ConfigSection(File, $"{Path}{name}.", value)
            : throw Error(name, "a JSON object", value.GetRawText());
    }

    /// <summary>An error about one field.</summary>
    public CheckpointFormatException Error(string name, string limit, string actual) => new(File, Path + name, limit, actual);

    private IEnumerable<JsonElement> Items(string name, string limit)
    {
        if (!Has(name))
            return [];
        JsonElement value = Element.GetProperty(name);
        JsonElement[] items = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [];
        return value.ValueKind == JsonValueKind.Array && items.All(item => item.ValueKind == JsonValueKind.String)
            ? items
            : throw Error(name, limit, value.GetRawText());
    }
}
