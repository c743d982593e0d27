namespace Cluster.Grains.Text.Templates;

/// <summary>Filters over lists: first, last, join, sort, sum and their kin.</summary>
internal static class SequenceFilters
{
    public static void AddTo(Dictionary<string, TemplateFilter> filters)
    {
        filters["first"] = (context, value, _) => Iterate(context, value) is [var first, ..]
            ? first : new Undefined("no first item, sequence was empty");
        filters["last"] = (context, value, _) => Iterate(context, value) is [.., var last]
            ? last : new Undefined("no last item, sequence was empty");
        filters["list"] = (context, value, _) => new TemplateList(Iterate(context, value));
        filters["reverse"] = Reverse;
        filters["join"] = Join;
        filters["sum"] = Sum;
        filters["min"] = (context, value, arguments) => Extreme(context, value, arguments, sign: -1);
        filters["max"] = (context, value, arguments) => Extreme(context, value, arguments, sign: 1);
        filters["sort"] = Sort;
        filters["unique"] = Unique;
        filters["dictsort"] = DictSort;
        filters["batch"] = Batch;
        filters["groupby"] = GroupBy;
    }

    /// <summary>
    /// The key that a filter's <c>attribute</c> argument names (a dotted path, or an index), folded to lower case
    /// unless case counts.
    /// </summary>
    public static Func<object?, object?> KeyOf(RenderContext context, object? attribute, bool caseSensitive = true)
    {
        Func<object?, object?> key = attribute switch
        {
            null => item => item,
            string path => item => Follow(context, item, path),
            _ => item => TemplateAccess.Item(item, attribute, context.Budget),
        };
        return caseSensitive ? key : item => key(item) is string text ? context.Budget.Made(text.ToLowerInvariant()) : key(item);
    }

    private static object? Follow(RenderContext context, object? item, string path)
    {
        foreach (string part in path.Split('.'))
        {
            object key = long.TryParse(part, out long index) ? index : part;
            item = TemplateAccess.Item(item, key, context.Budget);
        }

        return item;
    }

    private static IReadOnlyList<object?> Iterate(RenderContext context, object? value) =>
        TemplateTypes.Iterate(value, context.Budget);

    private static object? Reverse(RenderContext context, object? value, Arguments arguments)
    {
        if (value is string text)
        {
            context.Budget.Produce(text.Length);
            return string.Concat(PythonText.Characters(text).AsEnumerable().Reverse());
        }

        IReadOnlyList<object?> items = Iterate(context, value);
        context.Budget.Produce(items.Count);
        return new TemplateList([.. items.Reverse()]);
    }

    private static object? Join(RenderContext context, object? value, Arguments arguments)
    {
        string separator = arguments.Text(0, "d", "");
        Func<object?, object?> key = KeyOf(context, arguments.Get(1, "attribute", null));
        IReadOnlyList<object?> items = Iterate(context, value);
        context.Budget.Produce((long)separator.Length * items.Count);
        return context.Budget.Made(
            string.Join(separator, items.Select(item => PythonText.Str(key(item), context.Budget))));
    }

    private static object? Sum(RenderContext context, object? value, Arguments arguments)
    {
        Func<object?, object?> key = KeyOf(context, arguments.Get(0, "attribute", null));
        return Iterate(context, value).Aggregate(arguments.Get(1, "start", 0L),
            (sum, item) => TemplateArithmetic.Apply("+", sum, key(item), context.Budget));
    }

    private static object? Extreme(RenderContext context, object? value, Arguments arguments, int sign)
    {
        Func<object?, object?> key = KeyOf(
            context, arguments.Get(1, "attribute", null), arguments.Flag(0, "case_sensitive", false));
        IReadOnlyList<object?> items = Iterate(context, value);
        if (items.Count == 0)
            return new Undefined("No aggregated item, sequence was empty.");
        context.Budget.Step(items.Count);
        object? best = items[0];
        foreach (object? item in items.Skip(1))
        {
            if (TemplateComparison.Compare(key(item), key(best)) * sign > 0)
                best = item;
        }

        return best;
    }

    private static TemplateList Sorted(
        RenderContext context, IReadOnlyList<object?> items, Func<object?, object?> key, bool reverse)
    {
        context.Budget.Produce(items.Count);
        var comparer = Comparer<object?>.Create((a, b) =>
        {
            context.Budget.Step(1);
            return TemplateComparison.Compare(a, b);
        });
        (object? Item, object? Key)[] keyed = [.. items.Select(item => (item, key(item)))];
        IEnumerable<(object? Item, object? Key)> sorted = reverse
            ? keyed.OrderByDescending(entry => entry.Key, comparer)
            : keyed.OrderBy(entry => entry.Key, comparer);
        try
        {
            return new TemplateList([.. sorted.Select(entry => entry.Item)]);
        }
        catch (InvalidOperationException exception) when (exception.InnerException is ChatTemplateException fault)
        {
            throw new ChatTemplateException(fault.Failure, fault.Message, exception);
        }
    }

    private static object? Sort(RenderContext context, object? value, Arguments arguments) => Sorted(
        context, Iterate(context, value),
        KeyOf(context, arguments.Get(2, "attribute", null), arguments.Flag(1, "case_sensitive", false)),
        arguments.Flag(0, "reverse", false));

    private static object? Unique(RenderContext context, object? value, Arguments arguments)
    {
        Func<object?, object?> key = KeyOf(
            context, arguments.Get(1, "attribute", null), arguments.Flag(0, "case_sensitive", false));
        var seen = new TemplateMap();
        var kept = new List<object?>();
        foreach (object? item in Iterate(context, value))
        {
            object? itemKey = key(item);
            if (seen.Contains(itemKey))
                continue;
            seen.Set(itemKey, null);
            kept.Add(item);
        }

        return new TemplateList(kept);
    }

    private static object? DictSort(RenderContext context, object? value, Arguments arguments)
    {
        if (value is not TemplateMap map)
            throw TemplateTypes.Fault($"'{TemplateTypes.Name(value)}' object has no attribute 'items'");
        object? part = arguments.Text(1, "by", "key") == "value" ? 1L : 0L;
        return Sorted(context, MapMethods.Items(map, context.Budget),
            KeyOf(context, part, arguments.Flag(0, "case_sensitive", false)), arguments.Flag(2, "reverse", false));
    }

    private static object? Batch(RenderContext context, object? value, Arguments arguments)
    {
        int size = arguments.Integer(0, "linecount", 0);
        if (size <= 0)
            throw TemplateTypes.Fault("the size of a batch must be positive");
        object? fill = arguments.Get(1, "fill_with", null);
        var batches = new List<object?>();
        foreach (object?[] batch in Iterate(context, value).Chunk(size))
        {
            bool fills = fill is not null && batch.Length < size;
            context.Budget.Produce(fills ? size : batch.Length);
            batches.Add(new TemplateList(fills ? [.. batch, .. Enumerable.Repeat(fill, size - batch.Length)] : batch));
        }

        return new TemplateList(batches);
    }

    private static object? GroupBy(RenderContext context, object? value, Arguments arguments)
    {
        Func<object?, object?> key = KeyOf(
            context, arguments.Required(0, "attribute"), arguments.Flag(2, "case_sensitive", false));
        var groups = new List<object?>();
        List<object?> group = [];
        object? current = null;
        foreach (object? item in Sorted(context, Iterate(context, value), key, reverse: false))
        {
            if (group.Count == 0 || !TemplateComparison.AreEqual(key(item), current))
            {
                current = key(item);
                group = [];
                groups.Add(new TemplateList([current, new TemplateList(group)], isTuple: true));
            }

            group.Add(item);
        }

        return new TemplateList(groups);
    }
}
