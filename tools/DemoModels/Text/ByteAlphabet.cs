namespace Cluster.DemoModels.Text;

/// <summary>GPT-2's spelling of bytes as printable characters: what stands in vocab and merges of a byte-level tokenizer.json.</summary>
internal static class ByteAlphabet
{
    private static readonly char[] Characters = Build();

    /// <summary>The character that stands for a byte.</summary>
    public static char For(byte value) => Characters[value];

    /// <summary>Spells a byte string.</summary>
    public static string Spell(ReadOnlySpan<byte> bytes)
    {
        var text = new char[bytes.Length];
        for (int i = 0; i < bytes.Length; i++)
            text[i] = Characters[bytes[i]];
        return new string(text);
    }

    private static char[] Build()
    {
        var characters = new char[256];
        int next = 256;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xa1 and <= 0xac) or >= 0xae;
            characters[value] = (char)(printable ? value : next++);
        }
        return characters;
    }
}
