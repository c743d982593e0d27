namespace Cluster.Kernels.Cpu;

/// <summary>
/// How a panel of 16 outputs stores quantised weights. K is cut into groups of 32; two groups share a record: a head with fp16 scales
/// [group, output] (then minima, if there are any), then the codes of the first group, then those of the second. Codes lie as
/// vectors of 16 outputs times 4 consecutive k, one byte each or two nibbles, the lower of k and the upper of k + 16.
/// </summary>
internal interface IBlockFormat
{
    /// <summary>Bytes before the codes.</summary>
    static abstract int HeadBytes { get; }

    /// <summary>Vectors of 64 bytes per group.</summary>
    static abstract int Vectors { get; }

    /// <summary>What codes are stored too large by.</summary>
    static abstract int Zero { get; }
}

/// <summary>weight = scale * (code - 128).</summary>
internal readonly struct Int8Blocks : IBlockFormat
{
    public static int HeadBytes => 64;

    public static int Vectors => 8;

    public static int Zero => 128;
}

/// <summary>weight = scale * (code - 8).</summary>
internal readonly struct Int4Blocks : IBlockFormat
{
    public static int HeadBytes => 64;

    public static int Vectors => 4;

    public static int Zero => 8;
}

/// <summary>weight = scale * code - minimum.</summary>
internal readonly struct Int4MinimumBlocks : IBlockFormat
{
    public static int HeadBytes => 128;

    public static int Vectors => 4;

    public static int Zero => 0;
}
