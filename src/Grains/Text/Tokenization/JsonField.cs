using System.Text.Json;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// A value of a JSON file together with where it stands, so that every refusal names file, field and value.
/// </summary>
internal readonly struct JsonField(string file, string path, JsonElement element)
{
    public string File { get; } = file;

    public string Path { get; } = path;

    public JsonElement Element { get; } = element;

    /// <summary>Parses a whole file; the root's path is <c>$</c>.</summary>
    public static JsonField Parse(string file, ReadOnlyMemory<byte> utf8)
    {
        try
        {
            return new JsonField(file, "$", JsonDocument.Parse(utf8).RootElement);
        }
        catch (JsonException exception)
        {
            throw new TokenizerFormatException(file, "$", exception.Message, "is not valid JSON", exception);
        }
    }

    public bool IsObject => Element.ValueKind == JsonValueKind.Object;

    public bool IsString => Element.ValueKind == JsonValueKind.String;

    /// <summary>The property, or null where it is absent or JSON null.</summary>
    public JsonField? Optional(string name)
    {
        if (!IsObject)
            throw Refuse("must be an object");
        return Element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? new JsonField(File, Child(name), value)
            : null;
    }

    public JsonField Required(string name) => Optional(name)
        ?? throw new TokenizerFormatException(File, Child(name), "nothing", "is missing");

    public string AsString()
    {
        if (!IsString)
            throw Refuse("must be a string");
        try
        {
            return Element.GetString()!;
        }
        catch (InvalidOperationException exception)
        {
            throw new TokenizerFormatException(File, Path, "an unpaired surrogate or broken UTF-8", "must be valid text", exception);
        }
    }

    public bool AsBool() => Element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Refuse("must be true or false"),
    };

    public int AsInt(int minimum, int maximum)
    {
        if (Element.ValueKind != JsonValueKind.Number || !Element.TryGetInt32(out int value)
            || value < minimum || value > maximum)
        {
            throw Refuse($"must be a whole number from {minimum} to {maximum}");
        }

        return value;
    }

    public IEnumerable<JsonField> Items()
    {
        if (Element.ValueKind != JsonValueKind.Array)
            throw Refuse("must be a list");
        JsonField owner = this;
        return Element.EnumerateArray().Select((item, i) => new JsonField(owner.File, $"{owner.Path}[{i}]", item));
    }

    public IEnumerable<(string Name, JsonField Value)> Properties()
    {
        if (!IsObject)
            throw Refuse("must be an object");
        JsonField owner = this;
        return Element.EnumerateObject().Select(
            property => (property.Name, new JsonField(owner.File, owner.Child(property.Name), property.Value)));
    }

    /// <summary>The bool property, or the default where it is absent.</summary>
    public bool Flag(string name, bool defaultValue) => Optional(name)?.AsBool() ?? defaultValue;

    public TokenizerFormatException Refuse(string problem) => new(File, Path, Element.GetRawText(), problem);

    private string Child(string name) => Path == "$" ? name : $"{Path}.{name}";
}
