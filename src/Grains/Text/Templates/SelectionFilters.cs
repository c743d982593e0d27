namespace Cluster.Grains.Text.Templates;

/// <summary>Filters that apply another filter or a test to every element: map, select, reject and their kin.</summary>
internal static class SelectionFilters
{
    public static void AddTo(Dictionary<string, TemplateFilter> filters)
    {
        filters["map"] = Map;
        filters["select"] = (context, value, arguments) => Select(context, value, arguments, byAttribute: false, keep: true);
        filters["reject"] = (context, value, arguments) => Select(context, value, arguments, byAttribute: false, keep: false);
        filters["selectattr"] = (context, value, arguments) => Select(context, value, arguments, byAttribute: true, keep: true);
        filters["rejectattr"] = (context, value, arguments) => Select(context, value, arguments, byAttribute: true, keep: false);
    }

    private static TemplateList Map(RenderContext context, object? value, Arguments arguments)
    {
        IReadOnlyList<object?> items = TemplateTypes.Iterate(value, context.Budget);
        context.Budget.Step(items.Count);
        context.Budget.Produce(items.Count);
        if (arguments.Count > 0)
        {
            string name = arguments.RequiredText(0, "filter");
            TemplateFilter filter = TemplateFilters.Find(name)
                ?? throw TemplateTypes.Fault($"the filter '{name}' is not supported");
            Arguments rest = arguments.Skip(1);
            return new TemplateList([.. items.Select(item => filter(context, item, rest))]);
        }

        Func<object?, object?> key = SequenceFilters.KeyOf(context, arguments.Required(0, "attribute"));
        object? otherwise = arguments.Get(1, "default", null);
        return new TemplateList(
            [.. items.Select(item => key(item) is var found && found is Undefined && otherwise is not null ? otherwise : found)]);
    }

    private static TemplateList Select(
        RenderContext context, object? value, Arguments arguments, bool byAttribute, bool keep)
    {
        Func<object?, object?> key = SequenceFilters.KeyOf(context, byAttribute ? arguments.Required(0, "attribute") : null);
        Arguments rest = byAttribute ? arguments.Skip(1) : arguments;
        TemplateTest test = (_, item, _) => TemplateTypes.IsTrue(item);
        if (rest.Count > 0)
        {
            string name = rest.RequiredText(0, "test");
            test = TemplateTests.Find(name) ?? throw TemplateTypes.Fault($"the test '{name}' is not supported");
            rest = rest.Skip(1);
        }

        IReadOnlyList<object?> items = TemplateTypes.Iterate(value, context.Budget);
        context.Budget.Step(items.Count);
        context.Budget.Produce(items.Count);
        return new TemplateList([.. items.Where(item => test(context, key(item), rest) == keep)]);
    }
}
