using System.Globalization;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// A text in which every character outside the basic plane is replaced by one stand-in of the same Unicode category,
/// so that a .NET regular expression, which sees UTF-16 units, matches it as the file's author meant: by character.
/// </summary>
internal static class ShadowText
{
    // One character per UnicodeCategory value, in that enum's order; none occurs literally in known patterns.
    private const string StandIns =
        "\u0102\u0103\u01C5\u02B0\u05D0\u0300\u0903\u20DD\u0660\u2160\u00B2\u00A0\u2028\u2029\u0085\u00AD\uFFFD\uE000"
        + "\u203F\u2010\u2045\u2046\u00AB\u00BB\u00A1\u00B1\u00A2\u00A8\u00A9\u0378";

    /// <summary>
    /// The shadow of a text without unpaired surrogates, and for each of its characters the index in the text (with
    /// the text's length at the end). Null where the text is its own shadow.
    /// </summary>
    public static (string Shadow, int[] Offsets)? Of(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
            return null;
        var shadow = new char[text.Length];
        var offsets = new int[text.Length + 1];
        int count = 0;
        for (int i = 0; i < text.Length; i++)
        {
            offsets[count] = i;
            shadow[count++] = char.IsSurrogate(text[i])
                ? StandIns[(int)CharUnicodeInfo.GetUnicodeCategory(char.ConvertToUtf32(text, i++))]
                : text[i];
        }

        offsets[count] = text.Length;
        return (new string(shadow, 0, count), offsets);
    }
}
