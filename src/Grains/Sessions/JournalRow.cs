namespace Cluster.Grains.Sessions;

/// <summary>A row of a session in the store: packed bytes, so that every store's serializer keeps it exactly and small.</summary>
[GenerateSerializer, Alias("Cluster.JournalRow")]
internal sealed class JournalRow
{
    /// <summary>What the row holds.</summary>
    [Id(0)] public byte[] Payload { get; set; } = [];
}
