namespace Cluster.Grains.Text.Templates;

/// <summary>What a filter does: value and arguments to a new value.</summary>
internal delegate object? TemplateFilter(RenderContext context, object? value, Arguments arguments);

/// <summary>What a test decides about a value.</summary>
internal delegate bool TemplateTest(RenderContext context, object? value, Arguments arguments);

/// <summary>The arguments of a call as written.</summary>
internal sealed record ArgumentList(
    IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named)
{
    public static ArgumentList Empty { get; } = new([], []);

    /// <summary><c>*list</c>, spread behind the positional arguments.</summary>
    public Expression? SpreadList { get; init; }

    /// <summary><c>**map</c>, spread behind the named arguments.</summary>
    public Expression? SpreadMap { get; init; }

    public Arguments Evaluate(RenderContext context)
    {
        if (Positional.Count == 0 && Named.Count == 0 && SpreadList is null && SpreadMap is null)
            return Arguments.None;
        List<object?> positional = [.. Positional.Select(argument => argument.Evaluate(context))];
        var named = new Dictionary<string, object?>();
        foreach ((string name, Expression value) in Named)
            named[name] = value.Evaluate(context);
        if (SpreadList is not null)
            positional.AddRange(TemplateTypes.Iterate(SpreadList.Evaluate(context), context.Budget));
        if (SpreadMap is not null)
            AddSpread(SpreadMap.Evaluate(context), named);
        return new Arguments(positional, named);
    }

    private static void AddSpread(object? value, Dictionary<string, object?> named)
    {
        if (value is not TemplateMap map)
            throw TemplateTypes.Fault($"argument after ** must be a mapping, not {TemplateTypes.Name(value)}");
        foreach ((object? key, object? entry) in map)
            named[key as string ?? throw TemplateTypes.Fault("keywords must be strings")] = entry;
    }
}

internal sealed class CallExpression(int line, Expression callee, ArgumentList arguments) : Expression(line)
{
    protected override object? Compute(RenderContext context) => Invoke(context, caller: null);

    /// <summary>Calls; a <c>call</c> block passes its body as <paramref name="caller"/>.</summary>
    public object? Invoke(RenderContext context, TemplateCallable? caller)
    {
        object? target = callee.Evaluate(context);
        if (target is Undefined undefined)
            throw undefined.Fault();
        if (target is not TemplateCallable callable)
            throw TemplateTypes.Fault($"'{TemplateTypes.Name(target)}' object is not callable");
        Arguments values = arguments.Evaluate(context);
        if (caller is not null)
            values = new Arguments(values.Positional, new Dictionary<string, object?>(values.Named) { ["caller"] = caller });
        return callable.Call(context, values);
    }
}

internal sealed class FilterExpression(int line, Expression value, TemplateFilter filter, ArgumentList arguments)
    : Expression(line)
{
    protected override object? Compute(RenderContext context) =>
        filter(context, value.Evaluate(context), arguments.Evaluate(context));
}

internal sealed class TestExpression(int line, Expression value, TemplateTest test, ArgumentList arguments) : Expression(line)
{
    protected override object? Compute(RenderContext context) =>
        test(context, value.Evaluate(context), arguments.Evaluate(context));
}

/// <summary>Stands for a value that is already there, such as the text a filter block applies to.</summary>
internal sealed class HeldExpression(int line, Func<RenderContext, object?> value) : Expression(line)
{
    protected override object? Compute(RenderContext context) => value(context);
}
