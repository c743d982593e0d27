namespace Cluster.Grains.Decoding;

/// <summary>
/// Measured times by size (rows of a step, tokens of a draft): the median of the last few, per size up to 128 and in classes a sixteenth of an octave wide
/// beyond. A size that was never measured is taken to cost as little as is possible when more rows never take less time, and hardly more time per row: so
/// what could pay is tried, and tried once.
/// </summary>
internal sealed class StepCosts
{
    private const int Exact = 128;
    private const int ClassesPerOctave = 16;
    private const int Classes = Exact + (ClassesPerOctave * 8) + 1;
    private const int Kept = 9;

    // Kernels have steps: a size just below one may cost much less per row than one above.
    private const double Doubt = 0.6;
    private readonly float[] _times = new float[Classes * Kept];
    private readonly int[] _counts = new int[Classes];
    private readonly double[] _medians = new double[Classes];

    /// <summary>A step of <paramref name="size"/> rows took so many seconds.</summary>
    public void Observe(int size, double seconds)
    {
        int at = ClassOf(size);
        Span<float> times = _times.AsSpan(at * Kept, Kept);
        times[_counts[at]++ % Kept] = (float)seconds;
        Span<float> sorted = stackalloc float[Kept];
        int known = Math.Min(Kept, _counts[at]);
        times[..known].CopyTo(sorted);
        sorted[..known].Sort();
        // Of an even number the lower one: what disturbs a step only makes it longer.
        _medians[at] = sorted[(known - 1) / 2];
    }

    /// <summary>Seconds of a step of <paramref name="size"/> rows; 0 when nothing was measured.</summary>
    public double Of(int size)
    {
        int at = ClassOf(size);
        if (_counts[at] > 0)
            return _medians[at];
        int below = at, above = at;
        while (below > 0 && _counts[below] == 0)
            below--;
        while (above < Classes - 1 && _counts[above] == 0)
            above++;
        return Math.Max(_medians[below], Doubt * _medians[above] * size / SizeOf(above));
    }

    private static int ClassOf(int size) => size <= Exact
        ? Math.Max(0, size)
        : Math.Min(Classes - 1, Exact + 1 + (int)(ClassesPerOctave * Math.Log2((double)size / (Exact + 1))));

    private static double SizeOf(int at) => at <= Exact ? Math.Max(1, at) : (Exact + 1) * Math.Pow(2, (at - Exact - 0.5) / ClassesPerOctave);
}
