using System.Globalization;
using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>Reads the tokens inside a tag: names, numbers, strings and operators.</summary>
internal static class TagLexer
{
    private static readonly string[] Operators =
    [
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=",
        ".", ":", "|", ",",
    ];

    public static TemplateToken Next(string source, ref int position, int line)
    {
        char c = source[position];
        if (c is '\'' or '"')
            return new TemplateToken(TokenKind.String, ReadString(source, ref position, line), line);
        if (char.IsAsciiDigit(c))
            return ReadNumber(source, ref position, line);
        if (IsNamePart(c))
            return new TemplateToken(TokenKind.Name, TakeWhile(source, ref position, IsNamePart), line);
        foreach (string symbol in Operators)
        {
            if (string.CompareOrdinal(source, position, symbol, 0, symbol.Length) != 0)
                continue;
            position += symbol.Length;
            return new TemplateToken(TokenKind.Operator, symbol, line);
        }

        throw Wrong(line, $"'{c}' is not expected");
    }

    public static ChatTemplateException Wrong(int line, string problem) =>
        new(ChatTemplateFailure.Syntax, $"the chat template is not valid in line {line}: {problem}");

    private static bool IsNamePart(char c) => c == '_' || char.IsLetterOrDigit(c);

    private static string TakeWhile(string source, ref int position, Func<char, bool> belongs)
    {
        int start = position;
        while (position < source.Length && belongs(source[position]))
            position++;
        return source[start..position];
    }

    private static TemplateToken ReadNumber(string source, ref int position, int line)
    {
        int start = position;
        TakeWhile(source, ref position, IsDigit);
        bool isFloat = false;
        if (position + 1 < source.Length && source[position] == '.' && char.IsAsciiDigit(source[position + 1]))
        {
            isFloat = true;
            position++;
            TakeWhile(source, ref position, IsDigit);
        }

        int exponent = position;
        if (exponent < source.Length && source[exponent] is 'e' or 'E')
        {
            exponent++;
            if (exponent < source.Length && source[exponent] is '+' or '-')
                exponent++;
            if (exponent < source.Length && char.IsAsciiDigit(source[exponent]))
            {
                isFloat = true;
                position = exponent;
                TakeWhile(source, ref position, IsDigit);
            }
        }

        string digits = source[start..position].Replace("_", "", StringComparison.Ordinal);
        return new TemplateToken(isFloat ? TokenKind.Float : TokenKind.Integer, digits, line);
    }

    private static bool IsDigit(char c) => char.IsAsciiDigit(c) || c == '_';

    private static string ReadString(string source, ref int position, int line)
    {
        char quote = source[position++];
        var text = new StringBuilder();
        while (position < source.Length)
        {
            char c = source[position++];
            if (c == quote)
                return text.ToString();
            if (c == '\\' && position < source.Length)
                AddEscape(source, ref position, text, line);
            else
                text.Append(c);
        }

        throw Wrong(line, "a string has no end");
    }

    // Python's escapes; an unknown one stands for itself, backslash included.
    private static void AddEscape(string source, ref int position, StringBuilder text, int line)
    {
        char c = source[position++];
        switch (c)
        {
            case 'n': text.Append('\n'); break;
            case 't': text.Append('\t'); break;
            case 'r': text.Append('\r'); break;
            case 'b': text.Append('\b'); break;
            case 'f': text.Append('\f'); break;
            case 'v': text.Append('\v'); break;
            case 'a': text.Append('\a'); break;
            case '\\' or '\'' or '"': text.Append(c); break;
            case '\n': break;
            case 'x': AddCodePoint(source, ref position, 2, text, line); break;
            case 'u': AddCodePoint(source, ref position, 4, text, line); break;
            case 'U': AddCodePoint(source, ref position, 8, text, line); break;
            case >= '0' and <= '7': AddOctal(source, ref position, text); break;
            default: text.Append('\\').Append(c); break;
        }
    }

    private static void AddCodePoint(string source, ref int position, int digits, StringBuilder text, int line)
    {
        if (position + digits > source.Length || !uint.TryParse(source.AsSpan(position, digits),
            NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint value) || value > 0x10FFFF)
        {
            throw Wrong(line, "a string has a broken escape");
        }

        position += digits;
        if (value <= char.MaxValue)
            text.Append((char)value);
        else
            text.Append(char.ConvertFromUtf32((int)value));
    }

    private static void AddOctal(string source, ref int position, StringBuilder text)
    {
        const int MostDigits = 3;
        int value = 0;
        position--;
        for (int i = 0; i < MostDigits && position < source.Length && source[position] is >= '0' and <= '7'; i++)
            value = value * 8 + (source[position++] - '0');
        text.Append((char)value);
    }
}
