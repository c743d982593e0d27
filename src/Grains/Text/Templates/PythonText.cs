using System.Globalization;
using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>Text as Python sees it: its white space, its lengths in characters, its spelling of values.</summary>
internal static class PythonText
{
    public static bool IsWhiteSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1C' and <= '\x1F';

    public static ReadOnlySpan<char> TrimEnd(ReadOnlySpan<char> text)
    {
        while (!text.IsEmpty && IsWhiteSpace(text[^1]))
            text = text[..^1];
        return text;
    }

    public static ReadOnlySpan<char> TrimStart(ReadOnlySpan<char> text)
    {
        while (!text.IsEmpty && IsWhiteSpace(text[0]))
            text = text[1..];
        return text;
    }

    /// <summary>Number of characters; a surrogate pair is one.</summary>
    public static int Length(string text)
    {
        int length = text.Length;
        for (int i = 0; i + 1 < text.Length; i++)
        {
            if (char.IsSurrogatePair(text[i], text[i + 1]))
            {
                length--;
                i++;
            }
        }

        return length;
    }

    /// <summary>The characters one by one, each as a string.</summary>
    public static List<string> Characters(string text)
    {
        var characters = new List<string>(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            int length = i + 1 < text.Length && char.IsSurrogatePair(text[i], text[i + 1]) ? 2 : 1;
            characters.Add(text.Substring(i, length));
            i += length - 1;
        }

        return characters;
    }

    /// <summary>Python's <c>str(value)</c>.</summary>
    public static string Str(object? value, RenderBudget budget)
    {
        if (value is string text)
            return text;
        var builder = new StringBuilder();
        Append(value, builder, budget, isTop: true);
        return budget.Made(builder.ToString());
    }

    /// <summary>Python's <c>repr(value)</c>.</summary>
    public static string Repr(object? value, RenderBudget budget)
    {
        var builder = new StringBuilder();
        Append(value, builder, budget, isTop: false);
        return budget.Made(builder.ToString());
    }

    private static void Append(object? value, StringBuilder output, RenderBudget budget, bool isTop)
    {
        budget.Enter(budget.Line);
        switch (value)
        {
            case null: output.Append("None"); break;
            case Undefined: break;
            case bool flag: output.Append(flag ? "True" : "False"); break;
            case double number: output.Append(Float(number)); break;
            case string text when isTop: output.Append(text); break;
            case string text: AppendQuoted(text, output, budget); break;
            case TemplateList list: AppendList(list, output, budget); break;
            case TemplateMap map: AppendMap(map, output, budget); break;
            case IFormattable number: output.Append(number.ToString(null, CultureInfo.InvariantCulture)); break;
            default: output.Append('<').Append(TemplateTypes.Name(value)).Append('>'); break;
        }

        budget.Leave();
    }

    private static void AppendList(TemplateList list, StringBuilder output, RenderBudget budget)
    {
        output.Append(list.IsTuple ? '(' : '[');
        for (int i = 0; i < list.Count; i++)
        {
            if (i > 0)
                output.Append(", ");
            Append(list[i], output, budget, isTop: false);
        }

        if (list is { IsTuple: true, Count: 1 })
            output.Append(',');
        output.Append(list.IsTuple ? ')' : ']');
    }

    private static void AppendMap(TemplateMap map, StringBuilder output, RenderBudget budget)
    {
        output.Append('{');
        int i = 0;
        foreach ((object? key, object? value) in map)
        {
            if (i++ > 0)
                output.Append(", ");
            Append(key, output, budget, isTop: false);
            output.Append(": ");
            Append(value, output, budget, isTop: false);
        }

        output.Append('}');
    }

    private static void AppendQuoted(string text, StringBuilder output, RenderBudget budget)
    {
        budget.Produce(text.Length);
        char quote = text.Contains('\'') && !text.Contains('"') ? '"' : '\'';
        output.Append(quote);
        foreach (char c in text)
        {
            switch (c)
            {
                case '\n': output.Append("\\n"); break;
                case '\r': output.Append("\\r"); break;
                case '\t': output.Append("\\t"); break;
                case '\\': output.Append("\\\\"); break;
                case < ' ' or '\x7F': output.Append(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}"); break;
                default:
                    if (c == quote)
                        output.Append('\\');
                    output.Append(c);
                    break;
            }
        }

        output.Append(quote);
    }

    /// <summary>Python's spelling of a float: shortest digits that read back, a point or an exponent always there.</summary>
    public static string Float(double value)
    {
        if (double.IsNaN(value))
            return "nan";
        if (double.IsInfinity(value))
            return value > 0 ? "inf" : "-inf";
        string roundTrip = value.ToString("R", CultureInfo.InvariantCulture);
        int exponent = value == 0 ? 0 : Exponent(roundTrip.TrimStart('-'));
        string sign = roundTrip.StartsWith('-') ? "-" : "";
        string digits = Digits(roundTrip);
        return sign + (exponent is >= -4 and < 16 ? Plain(digits, exponent) : Scientific(digits, exponent));
    }

    // The power of ten of the first significant digit.
    private static int Exponent(string roundTrip)
    {
        int mark = roundTrip.IndexOf('E');
        if (mark >= 0)
            return int.Parse(roundTrip.AsSpan(mark + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        int point = roundTrip.IndexOf('.');
        if (roundTrip[0] != '0')
            return (point < 0 ? roundTrip.Length : point) - 1;
        return point - roundTrip.AsSpan().IndexOfAnyInRange('1', '9');
    }

    // The significant digits, without sign, point, exponent or zeros around them.
    private static string Digits(string roundTrip)
    {
        int end = roundTrip.IndexOf('E');
        string mantissa = (end < 0 ? roundTrip : roundTrip[..end]).Replace("-", "", StringComparison.Ordinal)
            .Replace(".", "", StringComparison.Ordinal).Trim('0');
        return mantissa.Length == 0 ? "0" : mantissa;
    }

    private static string Plain(string digits, int exponent)
    {
        if (exponent < 0)
            return "0." + new string('0', -exponent - 1) + digits;
        return digits.Length <= exponent + 1
            ? digits.PadRight(exponent + 1, '0') + ".0"
            : digits[..(exponent + 1)] + "." + digits[(exponent + 1)..];
    }

    private static string Scientific(string digits, int exponent)
    {
        string mantissa = digits.Length == 1 ? digits : digits[..1] + "." + digits[1..];
        string power = Math.Abs(exponent).ToString("00", CultureInfo.InvariantCulture);
        return $"{mantissa}e{(exponent < 0 ? '-' : '+')}{power}";
    }
}
