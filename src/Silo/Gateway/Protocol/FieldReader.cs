using System.Collections.Immutable;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>
/// Reads the members of one JSON object by name. null counts as absent; what is never asked for is <see cref="Unknown"/>.
/// Every problem names the field as spelled on the wire, what it must be and what it is.
/// </summary>
internal sealed class FieldReader
{
    private const int ShownCharacters = 40;

    private readonly Dictionary<string, JsonElement> _members = new(StringComparer.Ordinal);
    private readonly string _path;

    /// <summary>Reads an object; <paramref name="path"/> is where it stands, empty for the body.</summary>
    public FieldReader(JsonElement element, string path = "")
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw Wrong(path, "an object", element);
        _path = path;
        foreach (JsonProperty property in element.EnumerateObject())
            _members[property.Name] = property.Value;
    }

    /// <summary>Names of members nobody asked for.</summary>
    public IReadOnlyCollection<string> Unknown => _members.Keys;

    /// <summary>A member's value, or null when absent or null.</summary>
    public JsonElement? Take(string name) =>
        _members.Remove(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>Full name of a member.</summary>
    public string PathOf(string name) => _path.Length == 0 ? name : $"{_path}.{name}";

    /// <summary>A text.</summary>
    public string? Text(string name) => Take(name) is { } value ? TextOf(value, PathOf(name)) : null;

    /// <summary>A boolean.</summary>
    public bool? Boolean(string name) => Take(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Wrong(PathOf(name), "a boolean", value),
    };

    /// <summary>A whole number of 32 bits.</summary>
    public int? Integer(string name) => Take(name) is { } value ? IntegerOf(value, PathOf(name)) : null;

    /// <summary>A whole number of 64 bits.</summary>
    public long? Long(string name)
    {
        if (Take(name) is not { } value)
            return null;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number)
            ? number
            : throw Wrong(PathOf(name), "a whole number of 64 bits", value);
    }

    /// <summary>A finite number.</summary>
    public float? Number(string name) => Take(name) is { } value ? NumberOf(value, PathOf(name)) : null;

    /// <summary>An array of token ids.</summary>
    public ImmutableArray<int> Integers(string name) => Take(name) is { } value ? IntegersOf(value, PathOf(name)) : [];

    /// <summary>An object member's own reader.</summary>
    public FieldReader? Object(string name) => Take(name) is { } value ? new FieldReader(value, PathOf(name)) : null;

    /// <summary>A refusal that names a field.</summary>
    public static RequestRejectedException Refuse(string path, string message) => new(RejectionReason.InvalidRequest, message, path);

    /// <summary>A refusal because of a value's type.</summary>
    public static RequestRejectedException Wrong(string path, string expected, JsonElement actual) =>
        Refuse(path, $"The field '{path}' must be {expected}, got {Show(actual)}.");

    /// <summary>A string element's text.</summary>
    public static string TextOf(JsonElement value, string path) =>
        value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Wrong(path, "a string", value);

    /// <summary>A number element as an int; 2.0 counts as 2.</summary>
    public static int IntegerOf(JsonElement value, string path)
    {
        if (value.ValueKind == JsonValueKind.Number)
        {
            if (value.TryGetInt32(out int number))
                return number;
            double real = value.GetDouble();
            if (real is >= int.MinValue and <= int.MaxValue && real == Math.Truncate(real))
                return (int)real;
        }
        throw Wrong(path, "a whole number of 32 bits", value);
    }

    /// <summary>A number element as a finite float.</summary>
    public static float NumberOf(JsonElement value, string path)
    {
        if (value.ValueKind == JsonValueKind.Number && float.IsFinite((float)value.GetDouble()))
            return (float)value.GetDouble();
        throw Wrong(path, "a finite number", value);
    }

    /// <summary>An array element as token ids.</summary>
    public static ImmutableArray<int> IntegersOf(JsonElement value, string path)
    {
        if (value.ValueKind != JsonValueKind.Array)
            throw Wrong(path, "an array of whole numbers", value);
        var ids = ImmutableArray.CreateBuilder<int>(value.GetArrayLength());
        foreach (JsonElement element in value.EnumerateArray())
            ids.Add(element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int id) ? id : IntegerOf(element, $"{path}[{ids.Count}]"));
        return ids.MoveToImmutable();
    }

    private static string Show(JsonElement value)
    {
        if (value.ValueKind is JsonValueKind.Array or JsonValueKind.Object or JsonValueKind.Null)
            return JsonKind.Name(value.ValueKind);
        string raw = value.GetRawText();
        return $"{JsonKind.Name(value.ValueKind)} ({(raw.Length <= ShownCharacters ? raw : raw[..ShownCharacters] + "...")})";
    }
}
