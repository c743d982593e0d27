namespace Cluster.Grains.Text.Templates;

/// <summary>Members of values: <c>value.name</c>, <c>value[key]</c>, <c>value[a:b:c]</c>.</summary>
internal static class TemplateAccess
{
    /// <summary><c>value.name</c>: a method or attribute, else the dictionary's entry.</summary>
    public static object? Attribute(object? value, string name) => value switch
    {
        Undefined undefined => throw undefined.Fault(),
        TemplateNamespace space => space.Attributes.TryGetValue(name, out object? set) ? set : Missing(value, name),
        LoopState loop => loop.TryGet(name, out object? state) ? state : Missing(value, name),
        TemplateMap map => (object?)MapMethods.Bind(map, name)
            ?? (map.TryGet(name, out object? entry) ? entry : Missing(value, name)),
        string text => (object?)StringMethods.Bind(text, name) ?? Missing(value, name),
        TemplateList list => (object?)ListMethods.Bind(list, name) ?? Missing(value, name),
        _ => Missing(value, name),
    };

    /// <summary><c>value[key]</c>: the element, else the attribute of that name.</summary>
    public static object? Item(object? value, object? key, RenderBudget budget)
    {
        switch (value)
        {
            case Undefined undefined:
                throw undefined.Fault();
            case TemplateMap map when key is not Undefined && map.TryGet(key, out object? entry):
                return entry;
            case TemplateList list when Index(key, list.Count) is { } index:
                return list[index];
            case string text when key is long or bool:
                budget.Scan(text.Length);
                return Character(text, key);
        }

        return key is string name && value is not TemplateMap ? Attribute(value, name) : MissingItem(value, key);
    }

    /// <summary><c>value[start:stop:step]</c>; a bound that is null is open.</summary>
    public static object? Slice(object? value, object? start, object? stop, object? step, RenderBudget budget)
    {
        switch (value)
        {
            case Undefined undefined:
                throw undefined.Fault();
            case TemplateList list:
                budget.Produce(list.Count);
                return new TemplateList(Slice(list, start, stop, step), list.IsTuple);
            case string text:
                budget.Produce(text.Length);
                return string.Concat(Slice(PythonText.Characters(text), start, stop, step));
            default:
                return new Undefined($"'{TemplateTypes.Name(value)}' object cannot be sliced");
        }
    }

    private static List<T> Slice<T>(IReadOnlyList<T> items, object? start, object? stop, object? step)
    {
        long stride = Bound(step) ?? 1;
        if (stride == 0)
            throw TemplateTypes.Fault("slice step cannot be zero");
        int count = items.Count;
        (long lowest, long highest) = stride > 0 ? (0L, count) : (-1L, count - 1L);
        long Clamp(long? bound, long open) =>
            bound is { } given ? Math.Clamp(given < 0 ? given + count : given, lowest, highest) : open;
        long from = Clamp(Bound(start), stride > 0 ? lowest : highest);
        long to = Clamp(Bound(stop), stride > 0 ? highest : lowest);
        var slice = new List<T>();
        for (long i = from; stride > 0 ? i < to : i > to; i += Math.Clamp(stride, -count - 1L, count + 1L))
            slice.Add(items[(int)i]);
        return slice;
    }

    private static long? Bound(object? value) => value switch
    {
        null => null,
        long number => number,
        bool flag => flag ? 1 : 0,
        Undefined undefined => throw undefined.Fault(),
        _ => throw TemplateTypes.Fault("slice indices must be integers or None"),
    };

    private static int? Index(object? key, int count)
    {
        if (key is bool flag)
            key = flag ? 1L : 0L;
        if (key is not long index)
            return null;
        index = index < 0 ? index + count : index;
        return index >= 0 && index < count ? (int)index : null;
    }

    private static object Character(string text, object? key)
    {
        List<string> characters = PythonText.Characters(text);
        return Index(key, characters.Count) is { } index ? characters[index] : MissingItem(text, key);
    }

    private static Undefined Missing(object? value, string name) =>
        new($"'{TemplateTypes.Name(value)} object' has no attribute '{name}'");

    private static Undefined MissingItem(object? value, object? key) => new(
        $"'{TemplateTypes.Name(value)} object' has no element {(key is string or long ? key : TemplateTypes.Name(key))}");
}
