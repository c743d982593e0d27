namespace Cluster.Kernels.Execution;

/// <summary>A batch does not fit the shard it was sent to; nothing was computed.</summary>
public sealed class BatchRejectedException(string field, string limit, string actual)
    : ArgumentException($"{field} must be {limit}, was {actual}.")
{
    /// <summary>Array or value, with the index of the offending entry.</summary>
    public string Field { get; } = field;

    /// <summary>What is allowed.</summary>
    public string Limit { get; } = limit;

    /// <summary>What was found.</summary>
    public string Actual { get; } = actual;
}

/// <summary>A shard cannot be loaded the way it was asked for; nothing stays allocated.</summary>
public sealed class ShardSpecException(string field, string limit, string actual)
    : ArgumentException($"{field} must be {limit}, was {actual}.")
{
    /// <summary>Property of the <see cref="ShardSpec"/>.</summary>
    public string Field { get; } = field;

    /// <summary>What is allowed.</summary>
    public string Limit { get; } = limit;

    /// <summary>What was found.</summary>
    public string Actual { get; } = actual;
}

/// <summary>A device has too little memory for a shard.</summary>
public sealed class DeviceMemoryException(DeviceId device, string purpose, long needed, long available, Exception? inner = null)
    : Exception($"Device {device} has no room for {purpose}: {needed} bytes are needed, at most {available} are there.", inner)
{
    /// <summary>The device.</summary>
    public DeviceId Device { get; } = device;

    /// <summary>Bytes asked for.</summary>
    public long Needed { get; } = needed;

    /// <summary>Bytes that the device or process may use in all.</summary>
    public long Available { get; } = available;
}
