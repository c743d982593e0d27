namespace Cluster.DemoModels.Training;

/// <summary>Dimensions of a llama decoder with tied embeddings.</summary>
internal sealed record ModelShape(
    int Vocabulary, int Hidden, int Layers, int Heads, int KeyValueHeads, int HeadDim, int Intermediate, int MaxPositions = 1024)
{
    public const float NormEpsilon = 1e-5f;

    public const float RopeTheta = 10000f;

    /// <summary>The bundled target: about 6.4 M parameters.</summary>
    public static ModelShape Target(int vocabulary) => new(vocabulary, 256, 8, 8, 4, 32, 704);

    /// <summary>The bundled draft: about 1 M parameters in 12 narrow layers.</summary>
    public static ModelShape Draft(int vocabulary) => new(vocabulary, 80, 12, 3, 1, 32, 208);

    public int QueryRows => Heads * HeadDim;

    public int KeyValueRows => KeyValueHeads * HeadDim;

    public long Parameters => (long)Vocabulary * Hidden + Hidden + (long)Layers * (2L * Hidden
        + (long)Hidden * (2 * QueryRows + 2 * KeyValueRows) + 3L * Hidden * Intermediate);
}
