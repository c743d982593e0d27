using System.Globalization;
using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>Python's strftime in the C locale, for the directives that templates use.</summary>
internal static class TimeFormat
{
    public static string Format(DateTimeOffset time, string format)
    {
        var output = new StringBuilder();
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                output.Append(format[i]);
                continue;
            }

            // "%-d" is glibc's spelling of "without the leading zero".
            bool unpadded = format[i + 1] == '-' && i + 2 < format.Length;
            i += unpadded ? 2 : 1;
            string text = Directive(time, format[i]);
            output.Append(unpadded ? Unpadded(text) : text);
        }

        return output.ToString();
    }

    private static string Unpadded(string text)
    {
        string trimmed = text.TrimStart('0', ' ');
        return trimmed.Length > 0 ? trimmed : "0";
    }

    private static string Directive(DateTimeOffset time, char directive) => directive switch
    {
        'Y' => Pattern(time, "yyyy"),
        'y' => Pattern(time, "yy"),
        'm' => Pattern(time, "MM"),
        'd' => Pattern(time, "dd"),
        'e' => time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
        'H' => Pattern(time, "HH"),
        'I' => Pattern(time, "hh"),
        'M' => Pattern(time, "mm"),
        'S' => Pattern(time, "ss"),
        'f' => Pattern(time, "ffffff"),
        'p' => time.Hour < 12 ? "AM" : "PM",
        'B' => Pattern(time, "MMMM"),
        'b' or 'h' => Pattern(time, "MMM"),
        'A' => Pattern(time, "dddd"),
        'a' => Pattern(time, "ddd"),
        'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
        'w' => ((int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'u' => (time.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'F' => Pattern(time, "yyyy-MM-dd"),
        'T' => Pattern(time, "HH:mm:ss"),
        'D' or 'x' => Pattern(time, "MM/dd/yy"),
        'X' => Pattern(time, "HH:mm:ss"),
        'R' => Pattern(time, "HH:mm"),
        'c' => $"{Pattern(time, "ddd MMM")} {time.Day,2} {Pattern(time, "HH:mm:ss yyyy")}",
        // datetime.now() knows no time zone, so these are empty.
        'z' or 'Z' => "",
        'n' => "\n",
        't' => "\t",
        '%' => "%",
        _ => throw TemplateTypes.Fault($"the time directive '%{directive}' is not supported"),
    };

    private static string Pattern(DateTimeOffset time, string pattern) =>
        time.ToString(pattern, CultureInfo.InvariantCulture);
}
