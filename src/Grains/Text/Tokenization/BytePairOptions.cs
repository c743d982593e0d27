namespace Cluster.Grains.Text.Tokenization;

/// <summary>How a byte pair encoding turns characters into first symbols; the keys of tokenizer.json's <c>model</c>.</summary>
internal sealed record BytePairOptions
{
    /// <summary>Symbols are bytes (GPT-2 alphabet), not characters.</summary>
    public required bool ByteLevel { get; init; }

    /// <summary>A character outside the vocabulary becomes the tokens <c>&lt;0x00&gt;</c> ... of its bytes.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>Token for what nothing else covers; -1: it is dropped.</summary>
    public int UnknownId { get; init; } = -1;

    /// <summary>Adjacent unknown characters give one unknown token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>A whole word in the vocabulary is taken without merging.</summary>
    public bool IgnoreMerges { get; init; }
}
