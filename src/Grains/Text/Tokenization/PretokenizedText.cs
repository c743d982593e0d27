namespace Cluster.Grains.Text.Tokenization;

/// <summary>A run of characters of a <see cref="PretokenizedText"/>.</summary>
internal readonly record struct TextPiece(int Start, int Length)
{
    public int End => Start + Length;
}

/// <summary>
/// A text on its way through the pre-tokenizers: the text and the pieces it is cut into so far. Pieces count in
/// characters of the shadow (see <see cref="ShadowText"/>), which most often is the text itself.
/// </summary>
internal sealed class PretokenizedText
{
    private string _text;
    private string _shadow = null!;
    private int[]? _offsets;

    /// <param name="text">Normalised text without unpaired surrogates.</param>
    /// <param name="startsInput">Whether the text is the beginning of the whole input.</param>
    public PretokenizedText(string text, bool startsInput)
    {
        _text = text;
        StartsInput = startsInput;
        SetShadow();
        Pieces = [new TextPiece(0, _shadow.Length)];
    }

    public bool StartsInput { get; }

    public List<TextPiece> Pieces { get; private set; }

    /// <summary>The shadow's characters of a piece, for matching.</summary>
    public ReadOnlySpan<char> Shadow(TextPiece piece) => _shadow.AsSpan(piece.Start, piece.Length);

    /// <summary>The true characters of a piece.</summary>
    public ReadOnlySpan<char> Text(TextPiece piece) => _offsets is null
        ? _text.AsSpan(piece.Start, piece.Length)
        : _text.AsSpan(_offsets[piece.Start].._offsets[piece.End]);

    public void Replace(List<TextPiece> pieces) => Pieces = pieces;

    /// <summary>Rewrites the text of every piece, in order.</summary>
    public void Rewrite(Func<string, int, string> rewrite)
    {
        string[] texts = [.. Pieces.Select((piece, i) => rewrite(Text(piece).ToString(), i))];
        _text = string.Concat(texts);
        SetShadow();
        var pieces = new List<TextPiece>(texts.Length);
        int start = 0;
        foreach (string text in texts)
        {
            int length = ShadowText.Of(text)?.Shadow.Length ?? text.Length;
            pieces.Add(new TextPiece(start, length));
            start += length;
        }

        Pieces = pieces;
    }

    private void SetShadow() => (_shadow, _offsets) = ShadowText.Of(_text) is { } shadow ? shadow : (_text, null);
}
