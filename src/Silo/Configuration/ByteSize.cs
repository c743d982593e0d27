using System.Globalization;

namespace Cluster.Silo.Configuration;

/// <summary>Numbers of bytes as people write them: 1073741824, 512M, 4GiB (powers of 1024).</summary>
internal static class ByteSize
{
    private const string Prefixes = "KMGT";

    /// <summary>Reads a size; null when the text is anything else or does not fit.</summary>
    public static long? TryParse(string text)
    {
        string number = text.Trim();
        int shift = 0;
        foreach (string suffix in (ReadOnlySpan<string>)["iB", "B"])
        {
            if (!number.EndsWith(suffix, StringComparison.OrdinalIgnoreCase))
                continue;
            number = number[..^suffix.Length];
            break;
        }
        if (number.Length > 0 && Prefixes.IndexOf(char.ToUpperInvariant(number[^1])) is >= 0 and var prefix)
        {
            shift = 10 * (prefix + 1);
            number = number[..^1];
        }
        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value))
            return null;
        decimal bytes = value * (1L << shift);
        return bytes <= long.MaxValue && bytes == decimal.Truncate(bytes) ? (long)bytes : null;
    }

    /// <summary>Writes a size for people: 512 MiB.</summary>
    public static string Format(long bytes) => bytes switch
    {
        >= 1L << 30 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 30):0.#} GiB"),
        >= 1L << 20 => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 20):0.#} MiB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1L << 10):0.#} KiB"),
    };
}
