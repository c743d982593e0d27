using Cluster.DemoModels.Growth;
using Cluster.TestKit.Processes;

namespace Cluster.TestKit;

/// <summary>The bundled model grown to more parameters in a temporary folder, as <c>tools/DemoModels widen</c> does it.</summary>
public sealed class WideCheckpoint : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    /// <summary>Grows it.</summary>
    public WideCheckpoint(int hidden, int intermediate, int layers)
    {
        Parameters = GrownCheckpoint.Write(SharedData.InRepository("models", "cluster-demo"), _folder.Path, hidden, intermediate, null, layers, seed: 1);
        WeightBytes = new FileInfo(_folder.File("model.safetensors")).Length;
    }

    /// <summary>Its folder.</summary>
    public string Path => _folder.Path;

    /// <summary>Number of parameters.</summary>
    public long Parameters { get; }

    /// <summary>Bytes of its weights.</summary>
    public long WeightBytes { get; }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();
}
