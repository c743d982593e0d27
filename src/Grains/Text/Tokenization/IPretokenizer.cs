namespace Cluster.Grains.Text.Tokenization;

/// <summary>One pre-tokenizer: cuts pieces into smaller ones, or rewrites them.</summary>
internal interface IPretokenizer
{
    void Apply(PretokenizedText text);
}

/// <summary>Byte-level's <c>add_prefix_space</c>: every piece starts with a space.</summary>
internal sealed class PrefixSpacePretokenizer : IPretokenizer
{
    public void Apply(PretokenizedText text) =>
        text.Rewrite((piece, _) => piece.Length == 0 || piece.StartsWith(' ') ? piece : " " + piece);
}

/// <summary>When a <see cref="MetaspacePretokenizer"/> puts its mark before a text.</summary>
internal enum PrependScheme
{
    Always,
    First,
    Never,
}

/// <summary>SentencePiece's spelling of spaces as a mark, with a mark before the text.</summary>
internal sealed class MetaspacePretokenizer(char mark, PrependScheme scheme) : IPretokenizer
{
    public void Apply(PretokenizedText text) => text.Rewrite((piece, i) =>
    {
        string marked = piece.Replace(' ', mark);
        bool prepends = scheme == PrependScheme.Always
            || (scheme == PrependScheme.First && i == 0 && text.StartsInput);
        return prepends && !marked.StartsWith(mark) ? mark + marked : marked;
    });
}
