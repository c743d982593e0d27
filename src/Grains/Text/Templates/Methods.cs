namespace Cluster.Grains.Text.Templates;

/// <summary>The methods of dictionaries. Those that change one are refused, as in Hugging Face's sandbox.</summary>
internal static class MapMethods
{
    public static TemplateCallable? Bind(TemplateMap map, string name) => name switch
    {
        "items" => new TemplateFunction((context, _) => Items(map, context.Budget)),
        "keys" => new TemplateFunction((context, _) => Counted(map.Keys, map.Count, context.Budget)),
        "values" => new TemplateFunction((context, _) => Counted(map.Values, map.Count, context.Budget)),
        "get" => new TemplateFunction((_, arguments) => map.TryGet(arguments.Required(0, "key"), out object? value)
            ? value : arguments.Get(1, "default", null)),
        "copy" => new TemplateFunction((_, _) => map),
        "pop" or "popitem" or "update" or "clear" or "setdefault" => Methods.Refused("dict", name),
        _ => null,
    };

    public static TemplateList Items(TemplateMap map, RenderBudget budget)
    {
        budget.Produce(2L * map.Count);
        return new TemplateList(
            [.. map.Select(entry => (object?)new TemplateList([entry.Key, entry.Value], isTuple: true))]);
    }

    private static TemplateList Counted(IEnumerable<object?> items, int count, RenderBudget budget)
    {
        budget.Produce(count);
        return new TemplateList([.. items]);
    }
}

/// <summary>The methods of lists and tuples.</summary>
internal static class ListMethods
{
    public static TemplateCallable? Bind(TemplateList list, string name) => name switch
    {
        "index" => new TemplateFunction((context, arguments) => Index(list, arguments.Required(0, "value"), context.Budget)),
        "count" => new TemplateFunction((context, arguments) => Count(list, arguments.Required(0, "value"), context.Budget)),
        "copy" => new TemplateFunction((_, _) => list),
        "append" or "extend" or "insert" or "pop" or "remove" or "clear" or "sort" or "reverse" =>
            Methods.Refused("list", name),
        _ => null,
    };

    private static object Index(TemplateList list, object? value, RenderBudget budget)
    {
        budget.Step(list.Count);
        for (int i = 0; i < list.Count; i++)
        {
            if (TemplateComparison.AreEqual(list[i], value))
                return (long)i;
        }

        throw TemplateTypes.Fault("the value is not in the list");
    }

    private static object Count(TemplateList list, object? value, RenderBudget budget)
    {
        budget.Step(list.Count);
        return list.LongCount(item => TemplateComparison.AreEqual(item, value));
    }
}

internal static class Methods
{
    public static TemplateCallable Refused(string type, string name) => new TemplateFunction(
        (_, _) => throw TemplateTypes.Fault($"{type}.{name} would change a value; templates may not"));
}
