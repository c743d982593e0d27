namespace Cluster.Cli.Bench;

/// <summary>When requests are sent: a pure function of count, rate, burstiness and seed.</summary>
internal static class ArrivalSchedule
{
    /// <summary>Seconds since the start for each request, ascending, the first at 0.</summary>
    /// <param name="count">Requests.</param>
    /// <param name="rate">Per second; infinity = all at once.</param>
    /// <param name="burstiness">Shape of the gamma distribution of the intervals; 1 = Poisson, infinity = fixed.</param>
    /// <param name="seed">Same seed, same schedule.</param>
    public static double[] For(int count, double rate, double burstiness, int seed)
    {
        var random = new Random(seed);
        double[] arrivals = new double[count];
        if (double.IsPositiveInfinity(rate))
            return arrivals;
        for (int i = 1; i < count; i++)
            arrivals[i] = arrivals[i - 1] + Interval(random, rate, burstiness);
        return arrivals;
    }

    private static double Interval(Random random, double rate, double burstiness) =>
        double.IsPositiveInfinity(burstiness) ? 1 / rate : Gamma(random, burstiness) / (rate * burstiness);

    /// <summary>A gamma variate of scale 1 (Marsaglia and Tsang, 2000; their boost for shapes below 1).</summary>
    internal static double Gamma(Random random, double shape)
    {
        if (shape == 1)
            return -Math.Log(1 - random.NextDouble());
        if (shape < 1)
            return Gamma(random, shape + 1) * Math.Pow(1 - random.NextDouble(), 1 / shape);
        double d = shape - (1.0 / 3);
        double c = 1 / Math.Sqrt(9 * d);
        while (true)
        {
            double x = Normal(random);
            double v = 1 + (c * x);
            if (v <= 0)
                continue;
            v = v * v * v;
            if (Math.Log(1 - random.NextDouble()) < (0.5 * x * x) + (d * (1 - v + Math.Log(v))))
                return d * v;
        }
    }

    // Box and Muller; the second value is not kept, so that a draw depends on nothing before it.
    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
