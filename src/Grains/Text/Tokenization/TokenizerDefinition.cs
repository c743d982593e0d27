namespace Cluster.Grains.Text.Tokenization;

/// <summary>Everything a tokenizer is made of, whichever kind of file it was read from.</summary>
internal sealed record TokenizerDefinition
{
    /// <summary>The file it was read from, for errors.</summary>
    public required string File { get; init; }

    /// <summary>The model's own tokens; added tokens may be among them.</summary>
    public required TokenTable Vocabulary { get; init; }

    public required MergeTable Merges { get; init; }

    public required BytePairOptions Options { get; init; }

    public required IReadOnlyList<AddedToken> AddedTokens { get; init; }

    public Normalization Normalization { get; init; } = Normalization.None;

    public IReadOnlyList<IPretokenizer> Pretokenizers { get; init; } = [];

    public required DecoderShape Decoder { get; init; }

    /// <summary>Ids before and after an encoded text, where special tokens are asked for.</summary>
    public SpecialTokenFrame Frame { get; init; } = SpecialTokenFrame.None;
}

/// <summary>Ids that stand before and after an encoded text.</summary>
internal sealed record SpecialTokenFrame(IReadOnlyList<int> Before, IReadOnlyList<int> After)
{
    public static SpecialTokenFrame None { get; } = new([], []);
}
