namespace Cluster.Grains.Shards;

/// <summary>Key of a shard grain: silo/device/model/replica/rank. The silo comes first because placement reads it.</summary>
internal readonly record struct ShardKey(string Silo, string Device, string Model, int Replica, int Rank)
{
    /// <summary>Reads a key; model names may contain slashes.</summary>
    public static ShardKey Parse(string key)
    {
        string[] parts = key.Split('/');
        if (parts.Length < 5)
            throw new FormatException($"Shard key '{key}' has {parts.Length} parts, needs silo/device/model/replica/rank.");
        return new ShardKey(parts[0], parts[1], string.Join('/', parts[2..^2]), int.Parse(parts[^2]), int.Parse(parts[^1]));
    }

    /// <summary>Key of the replica this shard belongs to: model/replica.</summary>
    public string ReplicaKey => $"{Model}/{Replica}";

    /// <inheritdoc/>
    public override string ToString() => $"{Silo}/{Device}/{Model}/{Replica}/{Rank}";
}
