namespace Cluster.Kernels.Models;

/// <summary>A contiguous part of rows, columns, heads, tokens or layers.</summary>
/// <param name="Start">First.</param>
/// <param name="Count">How many.</param>
internal readonly record struct Share(int Start, int Count)
{
    /// <summary>The first after it.</summary>
    public int End => Start + Count;

    /// <summary>All of it.</summary>
    public static Share Whole(int total) => new(0, total);

    /// <summary>
    /// Part <paramref name="index"/> when everything is cut into <paramref name="parts"/> of equal claim by largest remainder: in whole units,
    /// of which the first parts have one more where they do not divide evenly. The last unit may be an incomplete one.
    /// </summary>
    public static Share Of(int total, int parts, int index, int unit = 1)
    {
        (int each, int more) = Math.DivRem((total + unit - 1) / unit, parts);
        int start = Math.Min(total, ((index * each) + Math.Min(index, more)) * unit);
        index++;
        return new Share(start, Math.Min(total, ((index * each) + Math.Min(index, more)) * unit) - start);
    }

    /// <summary>The smallest range of whole blocks around it.</summary>
    public Share Widen(int block)
    {
        int start = Start / block * block;
        return new Share(start, ((End + block - 1) / block * block) - start);
    }
}
