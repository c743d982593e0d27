namespace Cluster.Grains.Text.Templates;

/// <summary>An expression of the template's syntax tree. Immutable: one tree serves many threads.</summary>
internal abstract class Expression(int line)
{
    public int Line { get; } = line;

    public object? Evaluate(RenderContext context)
    {
        context.Budget.Enter(Line);
        object? value = Compute(context);
        context.Budget.Leave();
        return value;
    }

    protected abstract object? Compute(RenderContext context);
}

internal sealed class LiteralExpression(int line, object? value) : Expression(line)
{
    public object? Value { get; } = value;

    protected override object? Compute(RenderContext context) => Value;
}

internal sealed class NameExpression(int line, string name) : Expression(line)
{
    public string Name { get; } = name;

    protected override object? Compute(RenderContext context) =>
        context.Scope.TryGet(Name, out object? value) ? value : new Undefined($"'{Name}' is undefined");
}

internal sealed class ListExpression(int line, IReadOnlyList<Expression> items, bool isTuple) : Expression(line)
{
    protected override object? Compute(RenderContext context)
    {
        context.Budget.Produce(items.Count);
        return new TemplateList([.. items.Select(item => item.Evaluate(context))], isTuple);
    }
}

internal sealed class MapExpression(int line, IReadOnlyList<(Expression Key, Expression Value)> entries) : Expression(line)
{
    protected override object? Compute(RenderContext context)
    {
        context.Budget.Produce(entries.Count);
        var map = new TemplateMap();
        foreach ((Expression key, Expression value) in entries)
            map.Set(key.Evaluate(context), value.Evaluate(context));
        return map;
    }
}

internal sealed class AttributeExpression(int line, Expression owner, string name) : Expression(line)
{
    public string Name { get; } = name;

    protected override object? Compute(RenderContext context) =>
        TemplateAccess.Attribute(owner.Evaluate(context), Name);
}

internal sealed class ItemExpression(int line, Expression owner, Expression key) : Expression(line)
{
    public Expression Key { get; } = key;

    protected override object? Compute(RenderContext context) =>
        TemplateAccess.Item(owner.Evaluate(context), Key.Evaluate(context), context.Budget);
}

internal sealed class SliceExpression(int line, Expression owner, Expression? start, Expression? stop, Expression? step)
    : Expression(line)
{
    protected override object? Compute(RenderContext context) => TemplateAccess.Slice(owner.Evaluate(context),
        start?.Evaluate(context), stop?.Evaluate(context), step?.Evaluate(context), context.Budget);
}

internal sealed class NotExpression(int line, Expression operand) : Expression(line)
{
    protected override object? Compute(RenderContext context) => !TemplateTypes.IsTrue(operand.Evaluate(context));
}

internal sealed class SignExpression(int line, Expression operand, bool negative) : Expression(line)
{
    protected override object? Compute(RenderContext context)
    {
        object? value = operand.Evaluate(context);
        object? negated = TemplateArithmetic.Negate(value);
        return negative ? negated : value;
    }
}

/// <summary><c>and</c>, <c>or</c>: give one of their operands, the right one only if needed.</summary>
internal sealed class LogicalExpression(int line, Expression left, Expression right, bool isAnd) : Expression(line)
{
    protected override object? Compute(RenderContext context)
    {
        object? value = left.Evaluate(context);
        return TemplateTypes.IsTrue(value) == isAnd ? right.Evaluate(context) : value;
    }
}

internal sealed class ConditionalExpression(int line, Expression condition, Expression then, Expression? otherwise)
    : Expression(line)
{
    protected override object? Compute(RenderContext context)
    {
        if (TemplateTypes.IsTrue(condition.Evaluate(context)))
            return then.Evaluate(context);
        return otherwise is null
            ? new Undefined("the inline if-expression evaluated to false and no else section was defined")
            : otherwise.Evaluate(context);
    }
}

internal sealed class ArithmeticExpression(int line, string symbol, Expression left, Expression right) : Expression(line)
{
    protected override object? Compute(RenderContext context) =>
        TemplateArithmetic.Apply(symbol, left.Evaluate(context), right.Evaluate(context), context.Budget);
}

/// <summary><c>a ~ b</c>: joins the texts of any values.</summary>
internal sealed class ConcatExpression(int line, IReadOnlyList<Expression> parts) : Expression(line)
{
    protected override object? Compute(RenderContext context) => context.Budget.Made(
        string.Concat(parts.Select(part => PythonText.Str(part.Evaluate(context), context.Budget))));
}

/// <summary>A chain of comparisons: <c>a &lt; b &lt;= c</c>.</summary>
internal sealed class ComparisonExpression(int line, Expression first, IReadOnlyList<(string Symbol, Expression Operand)> rest)
    : Expression(line)
{
    protected override object? Compute(RenderContext context)
    {
        object? left = first.Evaluate(context);
        foreach ((string symbol, Expression operand) in rest)
        {
            object? right = operand.Evaluate(context);
            if (!Holds(symbol, left, right, context.Budget))
                return false;
            left = right;
        }

        return true;
    }

    private static bool Holds(string symbol, object? left, object? right, RenderBudget budget) => symbol switch
    {
        "==" => TemplateComparison.AreEqual(left, right),
        "!=" => !TemplateComparison.AreEqual(left, right),
        "in" => TemplateComparison.Contains(right, left, budget),
        "not in" => !TemplateComparison.Contains(right, left, budget),
        "<" => TemplateComparison.Compare(left, right) < 0,
        "<=" => TemplateComparison.Compare(left, right) <= 0,
        ">" => TemplateComparison.Compare(left, right) > 0,
        _ => TemplateComparison.Compare(left, right) >= 0,
    };
}
