namespace Cluster.Grains.Decoding;

/// <summary>
/// Measured times by size (rows of a step, tokens of a draft): the median of the last few, per size up to 128 and in classes a sixteenth of an octave wide
/// beyond. A size that was never measured is taken to cost as little as its neighbours allow, and what was measured long ago a little less than it did then:
/// so what could pay is tried, now and then again, and seldom when it does not.
/// </summary>
internal sealed class StepCosts
{
    private const int Exact = 128;
    private const int ClassesPerOctave = 16;
    private const int Classes = Exact + (ClassesPerOctave * 8) + 1;
    private const int Kept = 9;

    // The first ones tell of compilers and caches.
    private const int Unusual = 3;

    // Kernels have steps: a size just below one may cost much less per row than one above, and the next rows less than those before.
    private const double Doubt = 0.8;

    // A machine gets faster and slower as a whole: what is seen of one size holds for the others too.
    private const double Drift = 0.15;
    private const double MostAged = 0.5;
    private const double Aging = 0.0002;
    private readonly float[] _times = new float[Classes * Kept];
    private readonly int[] _counts = new int[Classes];
    private readonly double[] _medians = new double[Classes];
    private readonly long[] _seen = new long[Classes];
    private long _now;
    private double _pace = 1;

    /// <summary>Largest size that may be tried: not far beyond what was measured.</summary>
    public int Reach { get; private set; } = 8;

    /// <summary>Whether a size was measured more than once.</summary>
    public bool IsKnown(int size) => _counts[ClassOf(size)] > 1;

    /// <summary>A step of <paramref name="size"/> rows took so many seconds.</summary>
    public void Observe(int size, double seconds)
    {
        Reach = Math.Max(Reach, size + (size / 4) + 2);
        if (++_now <= Unusual)
            return;
        int at = ClassOf(size);
        if (_counts[at] > 0)
            _pace *= Math.Pow(Math.Clamp(seconds / (_medians[at] * _pace), 0.5, 2), Drift);
        seconds /= _pace;
        _seen[at] = _now;
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
    public double Of(int size) => _pace * AtPace(size);

    private double AtPace(int size)
    {
        int at = ClassOf(size);
        if (_counts[at] > 0)
            return _medians[at] * (1 - Math.Min(MostAged, (_now - _seen[at]) * Aging));
        int below = Known(at, -1), above = Known(at, 1), before = Known(below - 1, -1);
        double slope = before < 0 || below < 0 ? 0 : Math.Max(0, (_medians[below] - _medians[before]) / (SizeOf(below) - SizeOf(before)));
        double least = below < 0 ? 0 : _medians[below] + (Doubt * slope * (size - SizeOf(below)));
        return above < 0 ? least : Math.Max(least, Doubt * _medians[above] * size / SizeOf(above));
    }

    private int Known(int at, int direction)
    {
        while (at >= 0 && at < Classes && _counts[at] == 0)
            at += direction;
        return at < 0 || at >= Classes ? -1 : at;
    }

    private static int ClassOf(int size) => size <= Exact
        ? Math.Max(0, size)
        : Math.Min(Classes - 1, Exact + 1 + (int)(ClassesPerOctave * Math.Log2((double)size / (Exact + 1))));

    private static double SizeOf(int at) => at <= Exact ? Math.Max(1, at) : (Exact + 1) * Math.Pow(2, (at - Exact - 0.5) / ClassesPerOctave);
}
