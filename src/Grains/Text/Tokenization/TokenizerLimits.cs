namespace Cluster.Grains.Text.Tokenization;

/// <summary>Bounds that keep a hostile file from taking memory.</summary>
internal static class TokenizerLimits
{
    /// <summary>Highest token id; tables are as long as the highest id. Known vocabularies end below 300 000.</summary>
    public const int MaxTokenId = (1 << 21) - 1;

    /// <summary>Longest spelling of a token, in bytes.</summary>
    public const int MaxSpellingBytes = 1 << 16;
}
