namespace Cluster.Grains.Scheduling;

/// <summary>
/// What a step cost and gave, per sequence; covers every way of decoding. Plain decode 1/1/1, prefill chunk n/0/n,
/// speculative verify k+1 / a+1 / a+1.
/// </summary>
/// <param name="Forwarded">Rows forwarded (Q).</param>
/// <param name="Emitted">Tokens emitted (E).</param>
/// <param name="Retained">Rows whose keys and values stay in the cache (R).</param>
internal readonly record struct StepAccount(long Forwarded, long Emitted, long Retained)
{
    /// <summary>Sum of two accounts.</summary>
    public static StepAccount operator +(StepAccount left, StepAccount right) =>
        new(left.Forwarded + right.Forwarded, left.Emitted + right.Emitted, left.Retained + right.Retained);
}
