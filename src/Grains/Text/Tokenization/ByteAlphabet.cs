using System.Text;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// The alphabet of byte-level vocabularies (GPT-2): every byte is spelled as one visible character. Printable Latin-1
/// characters stand for themselves, the other 68 bytes are the characters from U+0100 on.
/// </summary>
internal static class ByteAlphabet
{
    private const int FirstSubstitute = 0x100;

    private static readonly char[] CharOfByte = new char[256];
    private static readonly short[] ByteOfChar = new short[FirstSubstitute + 68];

    static ByteAlphabet()
    {
        Array.Fill(ByteOfChar, (short)-1);
        int next = FirstSubstitute;
        for (int value = 0; value < 256; value++)
        {
            bool standsForItself = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            CharOfByte[value] = (char)(standsForItself ? value : next++);
            ByteOfChar[CharOfByte[value]] = (short)value;
        }
    }

    /// <summary>The character that spells a byte.</summary>
    public static char Spell(byte value) => CharOfByte[value];

    /// <summary>
    /// Turns a spelling (UTF-8) into the bytes it stands for. False where a character is outside the alphabet: such a
    /// token stands for its own UTF-8 bytes. <paramref name="bytes"/> needs the spelling's length.
    /// </summary>
    public static bool TryGetBytes(ReadOnlySpan<byte> spelling, Span<byte> bytes, out int count)
    {
        count = 0;
        while (!spelling.IsEmpty)
        {
            Rune.DecodeFromUtf8(spelling, out Rune rune, out int consumed);
            if (rune.Value >= ByteOfChar.Length || ByteOfChar[rune.Value] < 0)
                return false;
            bytes[count++] = (byte)ByteOfChar[rune.Value];
            spelling = spelling[consumed..];
        }

        return true;
    }
}
