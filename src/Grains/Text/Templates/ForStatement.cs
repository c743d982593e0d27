namespace Cluster.Grains.Text.Templates;

/// <summary><c>for</c>, with its filter, its <c>else</c> and, if recursive, its <c>loop(...)</c>.</summary>
internal sealed class ForStatement(
    int line, AssignmentTarget target, Expression iterable, Expression? filter, Statement body, Statement? otherwise, bool recursive)
    : Statement(line)
{
    // A round makes a scope, which costs more than an expression.
    private const int StepsPerRound = 4;

    protected override Flow Run(RenderContext context)
    {
        RunLoop(context, iterable.Evaluate(context), depth: 1);
        return Flow.Next;
    }

    private void RunLoop(RenderContext context, object? value, int depth)
    {
        Scope outer = context.Scope;
        IReadOnlyList<object?> items = Filter(context, TemplateTypes.Iterate(value, context.Budget));
        var loop = new LoopState(items, depth);
        if (recursive)
        {
            loop.Recurse = new TemplateFunction((inner, arguments) => inner.Capture(
                outer, nested => RunLoop(nested, arguments.Required(0, "iterable"), depth + 1)));
        }

        for (loop.Index = 0; loop.Index < items.Count; loop.Index++)
        {
            context.Budget.Step(StepsPerRound);
            context.Scope = new Scope(outer);
            target.Assign(context, items[loop.Index]);
            context.Scope.Set("loop", loop);
            if (body.Execute(context) == Flow.Break)
                break;
        }

        context.Scope = outer;
        if (items.Count == 0)
            otherwise?.Execute(context);
    }

    private IReadOnlyList<object?> Filter(RenderContext context, IReadOnlyList<object?> items)
    {
        if (filter is null)
            return items;
        Scope outer = context.Scope;
        var kept = new List<object?>();
        foreach (object? item in items)
        {
            context.Scope = new Scope(outer);
            target.Assign(context, item);
            if (TemplateTypes.IsTrue(filter.Evaluate(context)))
                kept.Add(item);
        }

        context.Scope = outer;
        return kept;
    }
}

/// <summary>The variable <c>loop</c>.</summary>
internal sealed class LoopState(IReadOnlyList<object?> items, int depth) : TemplateCallable
{
    private object? _lastChanged;
    private bool _hasChanged;

    public int Index { get; set; }

    /// <summary>What <c>loop(...)</c> does in a recursive loop.</summary>
    public TemplateCallable? Recurse { get; set; }

    public override object? Call(RenderContext context, Arguments arguments) => Recurse is null
        ? throw TemplateTypes.Fault("the loop must have the 'recursive' marker to be called")
        : Recurse.Call(context, arguments);

    public bool TryGet(string name, out object? value)
    {
        value = name switch
        {
            "index" => Index + 1L,
            "index0" => (long)Index,
            "revindex" => (long)(items.Count - Index),
            "revindex0" => items.Count - Index - 1L,
            "length" => (long)items.Count,
            "first" => Index == 0,
            "last" => Index == items.Count - 1,
            "depth" => (long)depth,
            "depth0" => depth - 1L,
            "previtem" => Index > 0 ? items[Index - 1] : new Undefined("there is no previous item"),
            "nextitem" => Index + 1 < items.Count ? items[Index + 1] : new Undefined("there is no next item"),
            "cycle" => new TemplateFunction((_, arguments) => arguments.Count > 0
                ? arguments.Positional[Index % arguments.Count] : throw TemplateTypes.Fault("no items for cycling given")),
            "changed" => new TemplateFunction((_, arguments) => Changed(arguments)),
            _ => this,
        };
        return value != this;
    }

    private bool Changed(Arguments arguments)
    {
        var now = new TemplateList(arguments.Positional, isTuple: true);
        bool changed = !_hasChanged || !TemplateComparison.AreEqual(_lastChanged, now);
        (_lastChanged, _hasChanged) = (now, true);
        return changed;
    }
}
