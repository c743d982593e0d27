using CsCheck;

namespace Cluster.Grains.Tests.Text;

/// <summary>Random texts of many scripts, spaces, digits, emoji and control characters, without unpaired surrogates.</summary>
internal static class RandomText
{
    private static readonly string[] Fragments =
    [
        " ", "  ", "\n", "\r\n", "\t", " the", "Hello", "'s", "'LL", "12345", "3.14", "don't", "é", "e\u0301", "ß", "日本語", "한국어", "Привет",
        "مرحبا", "नमस्ते", "👍🏽", "👨‍👩‍👧", "𝕳𝖊", "𠀀", "\u200D", "\uFEFF", "\u00A0", "\u3000", "<", "<|", "|>", "</s", "<s", "_", "__init__", "{}", "()", "\0", "\u007F",
        "▁", "ĠG", "\uFFFD", "\uFFFE", "#", "!!!!!!", "aaaaaaa",
    ];

    private static readonly Gen<string> Character = CsCheck.Gen.Int[1, 0x10FFFF]
        .Where(value => value is < 0xD800 or > 0xDFFF).Select(char.ConvertFromUtf32);

    public static Gen<string> Gen { get; } = CsCheck.Gen
        .Frequency((4, CsCheck.Gen.OneOf<string>(Fragments)), (1, Character)).Array[0, 40].Select(string.Concat);
}
