namespace Cluster.Grains.Text.Templates;

/// <summary>The left side of an assignment or of a loop: a name, a namespace's attribute, or several of them.</summary>
internal abstract class AssignmentTarget
{
    public abstract void Assign(RenderContext context, object? value);
}

internal sealed class NameTarget(string name) : AssignmentTarget
{
    public override void Assign(RenderContext context, object? value) => context.Scope.Set(name, value);
}

internal sealed class NamespaceTarget(NameExpression owner, string attribute) : AssignmentTarget
{
    public override void Assign(RenderContext context, object? value)
    {
        if (owner.Evaluate(context) is not TemplateNamespace space)
            throw TemplateTypes.Fault("cannot assign attribute on non-namespace object");
        space.Attributes[attribute] = value;
    }
}

internal sealed class TupleTarget(IReadOnlyList<AssignmentTarget> targets) : AssignmentTarget
{
    public override void Assign(RenderContext context, object? value)
    {
        IReadOnlyList<object?> values = TemplateTypes.Iterate(value, context.Budget);
        if (values.Count != targets.Count)
            throw TemplateTypes.Fault($"expected {targets.Count} values to unpack, got {values.Count}");
        for (int i = 0; i < targets.Count; i++)
            targets[i].Assign(context, values[i]);
    }
}
