namespace Cluster.Grains.Text.Templates;

/// <summary>The arguments of a call, filter or test; for filters and tests without the value they are applied to.</summary>
internal sealed class Arguments(IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named)
{
    private static readonly Dictionary<string, object?> NoNames = [];

    public static Arguments None { get; } = new([], NoNames);

    public IReadOnlyList<object?> Positional { get; } = positional;

    public IReadOnlyDictionary<string, object?> Named { get; } = named;

    public int Count => Positional.Count;

    public static Arguments Of(params object?[] positional) => new(positional, NoNames);

    /// <summary>The arguments after the first ones.</summary>
    public Arguments Skip(int count) => new([.. Positional.Skip(count)], Named);

    public object? Get(int index, string name, object? defaultValue)
    {
        if (index < Positional.Count)
            return Positional[index];
        return Named.TryGetValue(name, out object? value) ? value : defaultValue;
    }

    public object? Required(int index, string name) =>
        index < Positional.Count || Named.ContainsKey(name)
            ? Get(index, name, null)
            : throw TemplateTypes.Fault($"missing argument '{name}'");

    public string Text(int index, string name, string defaultValue) => Get(index, name, defaultValue) switch
    {
        string text => text,
        null => defaultValue,
        object other => throw TemplateTypes.Fault($"argument '{name}' must be str, not {TemplateTypes.Name(other)}"),
    };

    public string RequiredText(int index, string name) => Required(index, name) is string text
        ? text
        : throw TemplateTypes.Fault($"argument '{name}' must be str, not {TemplateTypes.Name(Required(index, name))}");

    public bool Flag(int index, string name, bool defaultValue) =>
        TemplateTypes.IsTrue(Get(index, name, defaultValue));

    public int Integer(int index, string name, int defaultValue) => Get(index, name, (long)defaultValue) switch
    {
        long number => (int)Math.Clamp(number, int.MinValue, int.MaxValue),
        bool flag => flag ? 1 : 0,
        null => defaultValue,
        object other => throw TemplateTypes.Fault($"argument '{name}' must be int, not {TemplateTypes.Name(other)}"),
    };
}
