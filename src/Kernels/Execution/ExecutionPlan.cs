namespace Cluster.Kernels.Execution;

/// <summary>How the layers of a forward pass are combined. An argument of every pass, never a global.</summary>
public abstract record ExecutionPlan
{
    private ExecutionPlan()
    {
    }

    /// <summary>Layer after layer, as the checkpoint means it.</summary>
    public static ExecutionPlan Exact { get; } = new ExactPlan();

    /// <summary>Layer after layer.</summary>
    public sealed record ExactPlan : ExecutionPlan;
}
