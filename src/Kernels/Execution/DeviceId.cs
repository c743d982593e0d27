namespace Cluster.Kernels.Execution;

/// <summary>Name of a device inside its silo, such as <c>cpu:0</c> or <c>cuda:1</c>.</summary>
public readonly record struct DeviceId(string Kind, int Index)
{
    /// <summary>Reads <c>kind:index</c>; null when the text is anything else.</summary>
    public static DeviceId? TryParse(string text)
    {
        string[] parts = text.Split(':');
        return parts is [("cpu" or "cuda") and var kind, var index] && int.TryParse(index, out int number) && number >= 0
            ? new DeviceId(kind, number)
            : null;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Kind}:{Index}";
}
