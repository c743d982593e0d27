using System.Text;
using Cluster.Grains.Text.Tokenization;

namespace Cluster.Grains.Text;

/// <summary>
/// Turns the tokens of one choice into text as they come. Text that is released is never taken back and never ends
/// inside a character: bytes of an incomplete character are held back until a later token completes or breaks it.
/// The state is a pure function of the tokens appended so far, so a detokenizer is restored by appending them again.
/// O(1) amortised per token. Not thread-safe; one per choice.
/// </summary>
internal sealed class StreamingDetokenizer
{
    private readonly Tokenizer _tokenizer;
    private readonly TextAssembler _assembler;
    private readonly bool _skipSpecialTokens;
    private readonly StringBuilder _released = new();

    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="skipSpecialTokens">Special tokens add no text.</param>
    /// <param name="context">
    /// Tokens that stand before the first appended one and whose text is not released, such as the last tokens of a
    /// prompt that the answer continues: after them a leading space is part of the text. Empty: the tokens begin a text
    /// of their own, and the concatenation of everything released equals <see cref="Tokenizer.Decode"/>, except where
    /// a run of byte tokens breaks after it had begun with whole characters: these stay.
    /// </param>
    public StreamingDetokenizer(Tokenizer tokenizer, bool skipSpecialTokens, ReadOnlySpan<int> context = default)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
        _assembler = tokenizer.NewAssembler(holdByteRuns: false);
        Restore(context);
    }

    /// <summary>Appends a token and returns the text that may be shown now, often the empty string.</summary>
    public string Append(int tokenId)
    {
        if (!_skipSpecialTokens || !_tokenizer.IsSpecial(tokenId))
            _assembler.Append(tokenId, _released);
        return Release();
    }

    /// <summary>Appends tokens whose text was released before, such as those of a journal.</summary>
    public void Restore(ReadOnlySpan<int> tokenIds)
    {
        foreach (int tokenId in tokenIds)
            Append(tokenId);
    }

    /// <summary>Ends the text and returns what was held back; bytes that never made a character become U+FFFD.</summary>
    public string Flush()
    {
        _assembler.Flush(_released);
        return Release();
    }

    private string Release()
    {
        string text = _released.ToString();
        _released.Clear();
        return text;
    }
}
