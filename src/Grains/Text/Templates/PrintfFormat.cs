using System.Globalization;
using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>Python's <c>format % values</c> for <c>%s %r %d %i %f %x %%</c> with width, precision and the flags <c>-0</c>.</summary>
internal static class PrintfFormat
{
    private const int LargestWidth = 10_000;

    public static string Apply(string format, object? values, RenderBudget budget)
    {
        IReadOnlyList<object?> list = values is TemplateList { IsTuple: true } tuple ? tuple : [values];
        var output = new StringBuilder();
        int next = 0;
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                output.Append(format[i]);
                continue;
            }

            Specification specification = Specification.Read(format, ref i);
            if (specification.Conversion == '%')
            {
                output.Append('%');
                continue;
            }

            if (next >= list.Count)
                throw TemplateTypes.Fault("not enough arguments for format string");
            output.Append(Format(specification, list[next++], budget));
        }

        if (next < list.Count && values is not TemplateMap)
            throw TemplateTypes.Fault("not all arguments converted during string formatting");
        return budget.Made(output.ToString());
    }

    private static string Format(Specification specification, object? value, RenderBudget budget)
    {
        string text = specification.Conversion switch
        {
            's' => PythonText.Str(value, budget),
            'r' => PythonText.Repr(value, budget),
            'd' or 'i' => ((long)Math.Truncate(TemplateTypes.ToDouble(value))).ToString(CultureInfo.InvariantCulture),
            'x' => ((long)TemplateTypes.ToDouble(value)).ToString("x", CultureInfo.InvariantCulture),
            'f' => TemplateTypes.ToDouble(value).ToString(
                "F" + (specification.Precision ?? 6), CultureInfo.InvariantCulture),
            _ => throw TemplateTypes.Fault($"unsupported format character '{specification.Conversion}'"),
        };
        if (specification is { Conversion: 's' or 'r', Precision: { } longest } && longest < text.Length)
            text = text[..longest];
        char fill = specification.Flags.Contains('0') && specification.Conversion is not ('s' or 'r') ? '0' : ' ';
        return specification.Flags.Contains('-')
            ? text.PadRight(specification.Width) : text.PadLeft(specification.Width, fill);
    }

    private readonly record struct Specification(string Flags, int Width, int? Precision, char Conversion)
    {
        public static Specification Read(string format, ref int i)
        {
            int start = ++i;
            while (i < format.Length && format[i] is '-' or '0' or '+' or ' ' or '#')
                i++;
            string flags = format[start..i];
            int width = ReadNumber(format, ref i) ?? 0;
            int? precision = null;
            if (i < format.Length && format[i] == '.')
            {
                i++;
                precision = ReadNumber(format, ref i) ?? 0;
            }

            return i < format.Length
                ? new Specification(flags, width, precision, format[i])
                : throw TemplateTypes.Fault("incomplete format");
        }

        private static int? ReadNumber(string format, ref int i)
        {
            int start = i;
            while (i < format.Length && char.IsAsciiDigit(format[i]))
                i++;
            if (i == start)
                return null;
            return int.TryParse(format.AsSpan(start, i - start), CultureInfo.InvariantCulture, out int number)
                && number <= LargestWidth ? number : throw TemplateTypes.Fault("a width in a format string is too large");
        }
    }
}
