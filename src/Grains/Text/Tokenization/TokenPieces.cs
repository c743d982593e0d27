using System.Globalization;
using System.Text;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>What each token adds to a decoded text, as bytes, worked out once at load.</summary>
internal sealed class TokenPieces
{
    private readonly List<byte> _bytes = [];
    private readonly (int Start, int Length)[] _pieces;
    private readonly bool[] _isByte;
    private readonly DecoderShape _shape;
    private readonly byte[] _pool;

    /// <param name="vocabulary">Spellings of the model's own tokens.</param>
    /// <param name="addedSpellings">Spellings of added tokens by id.</param>
    /// <param name="shape">How spellings become text.</param>
    public TokenPieces(TokenTable vocabulary, IReadOnlyDictionary<int, string> addedSpellings, DecoderShape shape)
    {
        _shape = shape;
        Count = Math.Max(vocabulary.IdLimit, addedSpellings.Keys.DefaultIfEmpty(-1).Max() + 1);
        _pieces = new (int, int)[Count];
        _isByte = new bool[Count];
        for (int id = 0; id < Count; id++)
        {
            int start = _bytes.Count;
            if (addedSpellings.TryGetValue(id, out string? added))
                Add(id, Encoding.UTF8.GetBytes(added));
            else if (vocabulary.Contains(id))
                Add(id, vocabulary[id]);
            _pieces[id] = (start, _bytes.Count - start);
        }

        _pool = [.. _bytes];
        _bytes = [];
    }

    /// <summary>Highest id plus one.</summary>
    public int Count { get; }

    /// <summary>The bytes a token adds; none for an id that is not in the vocabulary.</summary>
    public ReadOnlyMemory<byte> Bytes(int id)
    {
        if ((uint)id >= (uint)_pieces.Length)
            return default;
        (int start, int length) = _pieces[id];
        return _pool.AsMemory(start, length);
    }

    /// <summary>Whether the token is one byte of a character that is spelled by several tokens.</summary>
    public bool IsByte(int id) => (uint)id < (uint)_isByte.Length && _isByte[id];

    private void Add(int id, ReadOnlySpan<byte> spelling)
    {
        if (_shape.ByteLevel)
        {
            Span<byte> bytes = spelling.Length <= 256 ? stackalloc byte[spelling.Length] : new byte[spelling.Length];
            bool spelled = ByteAlphabet.TryGetBytes(spelling, bytes, out int count);
            _bytes.AddRange(spelled ? bytes[..count] : spelling);
        }
        else if (_shape.ByteFallback && TryParseByte(spelling, out byte value))
        {
            _isByte[id] = true;
            _bytes.Add(value);
        }
        else
        {
            string text = Encoding.UTF8.GetString(spelling);
            foreach ((string pattern, string content) in _shape.Replacements)
                text = text.Replace(pattern, content, StringComparison.Ordinal);
            _bytes.AddRange(Encoding.UTF8.GetBytes(text));
        }
    }

    private static bool TryParseByte(ReadOnlySpan<byte> spelling, out byte value)
    {
        value = 0;
        return spelling.Length == 6 && spelling.StartsWith("<0x"u8) && spelling[5] == (byte)'>'
            && byte.TryParse(spelling[3..5], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
