using System.Globalization;

namespace Cluster.Cli.Bench;

/// <summary>Upper limits in milliseconds that a good request keeps; null = no limit.</summary>
internal sealed record GoodputTarget(double? TtftMs, double? TpotMs, double? E2elMs)
{
    /// <summary>No limits: no goodput is reported.</summary>
    public static GoodputTarget None { get; } = new(null, null, null);

    /// <summary>Whether there is any limit.</summary>
    public bool IsSet => TtftMs is not null || TpotMs is not null || E2elMs is not null;

    /// <summary>Reads <c>ttft:200,tpot:50,e2el:5000</c>; parts may also come as several texts.</summary>
    /// <exception cref="ArgumentException">Not such a text.</exception>
    public static GoodputTarget Parse(IEnumerable<string> texts)
    {
        GoodputTarget target = None;
        foreach (string part in texts.SelectMany(text => text.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries)))
        {
            string[] pair = part.Split(':');
            if (pair.Length != 2 || !double.TryParse(pair[1], NumberStyles.Float, CultureInfo.InvariantCulture, out double milliseconds) || milliseconds is not (> 0 and < double.PositiveInfinity))
                throw new ArgumentException($"--goodput takes ttft:MS, tpot:MS and e2el:MS; '{part}' is none.");
            target = pair[0] switch
            {
                "ttft" => target with { TtftMs = milliseconds },
                "tpot" => target with { TpotMs = milliseconds },
                "e2el" => target with { E2elMs = milliseconds },
                _ => throw new ArgumentException($"--goodput knows ttft, tpot and e2el; '{pair[0]}' is none."),
            };
        }
        return target;
    }

    /// <summary>Whether a request keeps all limits.</summary>
    public bool IsMetBy(RequestRecord record) =>
        Keeps(record.Ttft, TtftMs) && Keeps(record.Tpot, TpotMs) && Keeps(record.Latency, E2elMs);

    // A request of one token has no time per further token: it cannot exceed it.
    private static bool Keeps(double? seconds, double? limitMs) => limitMs is null || seconds is null || seconds * 1000 <= limitMs;
}
