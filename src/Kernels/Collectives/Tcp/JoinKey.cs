namespace Cluster.Kernels.Collectives;

/// <summary>A rank of a group, of whatever epoch.</summary>
internal readonly record struct JoinKey(string Group, int Rank);
