using System.Text;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// Puts tokens together into text, one by one, each in O(its length). Holds back the bytes of a character that is not
/// complete yet. Broken bytes become U+FFFD by the reference library's rules: byte-level as in any lossy UTF-8
/// decoding; in a run of byte tokens one U+FFFD for every byte of the run.
/// </summary>
/// <param name="pieces">What each token adds.</param>
/// <param name="shape">The rules.</param>
/// <param name="holdByteRuns">
/// True: a run of byte tokens is released when it has ended, as a whole, which is exactly the reference's decoding.
/// False: each complete character of a run is released at once, as a stream must; only where such a run turns out
/// broken later, the characters already released stay instead of becoming U+FFFD.
/// </param>
internal sealed class TextAssembler(TokenPieces pieces, DecoderShape shape, bool holdByteRuns)
{
    private const char Replacement = '\uFFFD';
    private const int LongestCharacter = 4;

    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private readonly List<byte> _run = [];
    private int _stripLeft = shape.StripCount;
    private bool _runIsBroken;
    private bool _isFirst = true;

    public void Append(int id, StringBuilder output)
    {
        ReadOnlySpan<byte> bytes = pieces.Bytes(id).Span;
        if (pieces.IsByte(id))
            AppendByte(bytes[0], output);
        else if (shape.ByteLevel)
            Decode(bytes, flush: false, output);
        else
            AppendText(bytes, output);
        _isFirst = false;
    }

    /// <summary>Releases what is held back, as the text's end leaves it.</summary>
    public void Flush(StringBuilder output)
    {
        if (shape.ByteLevel)
            Decode([], flush: true, output);
        else
            EndRun(output);
    }

    private void AppendText(ReadOnlySpan<byte> bytes, StringBuilder output)
    {
        EndRun(output);
        if (_isFirst && shape.DroppedFirstMark is not null)
            bytes = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(bytes).Replace(" ", "", StringComparison.Ordinal));
        Decode(bytes, flush: true, output);
    }

    private void AppendByte(byte value, StringBuilder output)
    {
        if (_runIsBroken)
        {
            Emit([Replacement], output);
            return;
        }

        _run.Add(value);
        if (holdByteRuns)
            return;
        Span<byte> character = stackalloc byte[LongestCharacter];
        _run.CopyTo(character);
        switch (Rune.DecodeFromUtf8(character[.._run.Count], out Rune _, out _))
        {
            case System.Buffers.OperationStatus.Done:
                Decode(character[.._run.Count], flush: true, output);
                _run.Clear();
                break;
            case System.Buffers.OperationStatus.InvalidData:
                BreakRun(output);
                _runIsBroken = true;
                break;
        }
    }

    private void EndRun(StringBuilder output)
    {
        if (_run.Count > 0)
        {
            byte[] run = [.. _run];
            if (holdByteRuns && System.Text.Unicode.Utf8.IsValid(run))
            {
                Decode(run, flush: true, output);
                _run.Clear();
            }
            else
            {
                BreakRun(output);
            }
        }

        _runIsBroken = false;
    }

    private void BreakRun(StringBuilder output)
    {
        for (int i = 0; i < _run.Count; i++)
            Emit([Replacement], output);
        _run.Clear();
    }

    private void Decode(ReadOnlySpan<byte> bytes, bool flush, StringBuilder output)
    {
        const int Chunk = 256;
        Span<char> chars = stackalloc char[Chunk + LongestCharacter];
        do
        {
            ReadOnlySpan<byte> part = bytes[..Math.Min(Chunk, bytes.Length)];
            bytes = bytes[part.Length..];
            int count = _utf8.GetChars(part, chars, flush && bytes.IsEmpty);
            Emit(chars[..count], output);
        }
        while (!bytes.IsEmpty);
    }

    private void Emit(ReadOnlySpan<char> text, StringBuilder output)
    {
        for (; _stripLeft > 0 && !text.IsEmpty; _stripLeft--)
        {
            if (text[0] != shape.StripChar)
            {
                _stripLeft = 0;
                break;
            }

            text = text[1..];
        }

        output.Append(text);
    }
}
