using Cluster.DemoModels.Gguf;

namespace Cluster.TestKit;

/// <summary>GGUF files of checkpoints, as <c>tools/DemoModels gguf</c> writes them.</summary>
public static class GgufExports
{
    /// <summary>Exports a folder.</summary>
    /// <param name="folder">Hugging Face folder.</param>
    /// <param name="output">File to write.</param>
    /// <param name="type">F32, F16, BF16, Q8_0 or Q4_0.</param>
    public static void Write(string folder, string output, string type) => GgufExport.Write(folder, output, Enum.Parse<GgufType>(type));
}
