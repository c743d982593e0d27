namespace Cluster.Grains.Text.Templates;

/// <summary>A macro as written: parameters with their defaults, and the body.</summary>
internal sealed record MacroDefinition(
    string Name, IReadOnlyList<(string Name, Expression? Default)> Parameters, Statement Body);

/// <summary>A macro with the scope it was defined in. Calling it gives the text its body prints.</summary>
internal sealed class Macro(MacroDefinition definition, Scope scope) : TemplateCallable
{
    public override object? Call(RenderContext context, Arguments arguments)
    {
        context.Budget.Enter(context.Budget.Line);
        var local = new Scope(scope);
        string text = context.Capture(local, inner =>
        {
            Bind(inner, arguments);
            definition.Body.Execute(inner);
        });
        context.Budget.Leave();
        return text;
    }

    private void Bind(RenderContext context, Arguments arguments)
    {
        IReadOnlyList<(string Name, Expression? Default)> parameters = definition.Parameters;
        for (int i = 0; i < parameters.Count; i++)
            context.Scope.Set(parameters[i].Name, Argument(context, arguments, i));
        var names = parameters.Select(parameter => parameter.Name).ToHashSet();
        context.Scope.Set("varargs", new TemplateList([.. arguments.Positional.Skip(parameters.Count)], isTuple: true));
        var rest = new TemplateMap();
        foreach ((string name, object? value) in arguments.Named)
        {
            if (name == "caller")
                context.Scope.Set("caller", value);
            else if (!names.Contains(name))
                rest.Set(name, value);
        }

        context.Scope.Set("kwargs", rest);
    }

    private object? Argument(RenderContext context, Arguments arguments, int i)
    {
        (string name, Expression? defaultValue) = definition.Parameters[i];
        if (i < arguments.Count || arguments.Named.ContainsKey(name))
            return arguments.Get(i, name, null);
        return defaultValue is null
            ? new Undefined($"parameter '{name}' of '{definition.Name}' was not provided")
            : defaultValue.Evaluate(context);
    }
}
