using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>State of one rendering: output, variables, clock, budget.</summary>
internal sealed class RenderContext(Scope globals, TimeProvider time, TemplateLimits limits)
{
    public RenderBudget Budget { get; } = new(limits);

    public TimeProvider Time { get; } = time;

    /// <summary>The innermost scope.</summary>
    public Scope Scope { get; set; } = new(globals);

    public StringBuilder Output { get; private set; } = new();

    public void Write(string text)
    {
        Budget.Produce(text.Length);
        Output.Append(text);
    }

    /// <summary>Runs statements and returns what they print instead of printing it.</summary>
    public string Capture(Scope scope, Action<RenderContext> run)
    {
        (StringBuilder output, Scope outer) = (Output, Scope);
        (Output, Scope) = (new StringBuilder(), scope);
        run(this);
        string text = Output.ToString();
        (Output, Scope) = (output, outer);
        return text;
    }
}

/// <summary>Variables of a block, and those around it.</summary>
internal sealed class Scope(Scope? parent)
{
    private readonly Dictionary<string, object?> _variables = [];

    public void Set(string name, object? value) => _variables[name] = value;

    public bool TryGet(string name, out object? value)
    {
        for (Scope? scope = this; scope is not null; scope = scope.Parent)
        {
            if (scope._variables.TryGetValue(name, out value))
                return true;
        }

        value = null;
        return false;
    }

    private Scope? Parent { get; } = parent;
}
