using System.Security.Cryptography.X509Certificates;

namespace Cluster.Kernels.Collectives;

/// <summary>How a process talks to others. Connections, stripes and certificates must be alike on both sides.</summary>
public sealed record TcpMeshOptions
{
    /// <summary>The defaults.</summary>
    public static TcpMeshOptions Default { get; } = new();

    /// <summary>Limits of the groups.</summary>
    public ProcessGroupOptions Group { get; init; } = ProcessGroupOptions.Default;

    /// <summary>Longest wait until all ranks of a group are connected. Default 30 s.</summary>
    public TimeSpan JoinTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A peer that gave no sign of life for so long is lost. Default 1 s; signs come four times as often.</summary>
    public TimeSpan HeartbeatTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Data connections per pair of ranks. Default 1; more help where one connection does not fill the link.</summary>
    public int DataConnections { get; init; } = 1;

    /// <summary>A payload of so many bytes is cut over all data connections. Default 1 MiB.</summary>
    public long StripeBytes { get; init; } = 1 << 20;

    /// <summary>Bytes of messages that came before somebody asked for them, per peer. Default 64 MiB; more is a failure.</summary>
    public long ReceiveBufferBytes { get; init; } = 64 << 20;

    /// <summary>Certificate with private key: all connections are TLS. It may be self-signed: the secret authenticates it. Default none.</summary>
    public X509Certificate2? Certificate { get; init; }
}
