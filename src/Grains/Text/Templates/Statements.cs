namespace Cluster.Grains.Text.Templates;

/// <summary>How a statement ended.</summary>
internal enum Flow
{
    Next,
    Break,
    Continue,
}

/// <summary>A statement of the template's syntax tree. Immutable: one tree serves many threads.</summary>
internal abstract class Statement(int line)
{
    public int Line { get; } = line;

    public Flow Execute(RenderContext context)
    {
        context.Budget.Enter(Line);
        Flow flow = Run(context);
        context.Budget.Leave();
        return flow;
    }

    protected abstract Flow Run(RenderContext context);
}

internal sealed class TextStatement(int line, string text) : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        context.Write(text);
        return Flow.Next;
    }
}

internal sealed class PrintStatement(int line, Expression value) : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        context.Write(PythonText.Str(value.Evaluate(context), context.Budget));
        return Flow.Next;
    }
}

internal sealed class BlockStatement(int line, IReadOnlyList<Statement> statements) : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        foreach (Statement statement in statements)
        {
            Flow flow = statement.Execute(context);
            if (flow != Flow.Next)
                return flow;
        }

        return Flow.Next;
    }
}

internal sealed class IfStatement(int line, Expression condition, Statement then, Statement? otherwise) : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        if (TemplateTypes.IsTrue(condition.Evaluate(context)))
            return then.Execute(context);
        return otherwise?.Execute(context) ?? Flow.Next;
    }
}

/// <summary><c>break</c> or <c>continue</c>.</summary>
internal sealed class FlowStatement(int line, Flow flow) : Statement(line)
{
    protected override Flow Run(RenderContext context) => flow;
}

internal sealed class SetStatement(int line, AssignmentTarget target, Expression value) : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        target.Assign(context, value.Evaluate(context));
        return Flow.Next;
    }
}

internal sealed class WithStatement(int line, IReadOnlyList<(AssignmentTarget Target, Expression Value)> variables, Statement body)
    : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        Scope outer = context.Scope;
        object?[] values = [.. variables.Select(variable => variable.Value.Evaluate(context))];
        context.Scope = new Scope(outer);
        for (int i = 0; i < values.Length; i++)
            variables[i].Target.Assign(context, values[i]);
        Flow flow = body.Execute(context);
        context.Scope = outer;
        return flow;
    }
}

internal sealed class MacroStatement(int line, string name, MacroDefinition definition) : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        context.Scope.Set(name, new Macro(definition, context.Scope));
        return Flow.Next;
    }
}

/// <summary><c>call</c>: calls a macro that may call the block's body as <c>caller()</c>.</summary>
internal sealed class CallStatement(int line, CallExpression call, MacroDefinition body) : Statement(line)
{
    protected override Flow Run(RenderContext context)
    {
        object? text = call.Invoke(context, new Macro(body, context.Scope));
        context.Write(PythonText.Str(text, context.Budget));
        return Flow.Next;
    }
}
