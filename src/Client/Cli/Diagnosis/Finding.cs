namespace Cluster.Cli.Diagnosis;

/// <summary>How a check ended.</summary>
internal enum Verdict
{
    /// <summary>As it should be.</summary>
    Good = 0,

    /// <summary>Works, but look at it.</summary>
    Doubtful = 1,

    /// <summary>Does not work.</summary>
    Bad = 2,
}

/// <summary>What a check found, and what to do about it (null when good).</summary>
internal sealed record Finding(string Check, Verdict Verdict, string Detail, string? Remedy = null);
