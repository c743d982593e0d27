using System.Collections.Concurrent;
using System.Net;
using Cluster.Kernels.Collectives;

namespace Cluster.Grains.Shards;

/// <summary>
/// Opens the process groups of this silo's shards, one per replica and epoch: ranks that all live in this process meet in
/// memory, others over the mesh. A rank of another epoch or without the epoch's secret is refused by its peers.
/// </summary>
internal sealed class ShardGroups : IDisposable
{
    private readonly ConcurrentDictionary<string, LocalMeeting> _meetings = new(StringComparer.Ordinal);
    private TcpMesh? _mesh;

    /// <summary>Where this silo takes connections of peers, address:port; null when it does not listen.</summary>
    public string? Endpoint { get; private set; }

    /// <summary>Listens for shards of other silos.</summary>
    /// <param name="endPoint">Address and port; port 0 takes a free one.</param>
    /// <param name="advertisedHost">Address under which other silos reach this one.</param>
    public void Listen(IPEndPoint endPoint, string advertisedHost)
    {
        _mesh = TcpMesh.Listen(endPoint, TcpMeshOptions.Default);
        Endpoint = $"{advertisedHost}:{_mesh.EndPoint.Port}";
    }

    /// <summary>Joins the group of an epoch; ends when all its ranks have met.</summary>
    /// <exception cref="ProcessGroupException">A peer refused or did not come in time.</exception>
    public Task<IProcessGroup> JoinAsync(ShardOpening opening, CancellationToken cancellationToken)
    {
        if (opening.IsLocal)
            return Task.FromResult(MeetingOf(opening).Take(opening.Rank));
        TcpMesh mesh = _mesh ?? throw new ShardFailedException($"This silo takes no connections of peers, so replica {opening.Replica} cannot span silos.");
        var spec = new TcpGroupSpec(opening.Replica, opening.Epoch, opening.Secret.AsMemory(), [.. opening.Endpoints.Select(Parse)]);
        return mesh.JoinAsync(spec, opening.Rank, cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose() => _mesh?.Dispose();

    // The first rank of an epoch makes it; the one of an older epoch is of no use any more.
    private LocalMeeting MeetingOf(ShardOpening opening) => _meetings.AddOrUpdate(
        opening.Replica,
        static (_, opening) => new LocalMeeting(opening),
        static (_, known, opening) => known.Epoch >= opening.Epoch ? known : new LocalMeeting(opening),
        opening);

    private static EndPoint Parse(string endpoint)
    {
        int colon = endpoint.LastIndexOf(':');
        if (colon < 0 || !int.TryParse(endpoint.AsSpan(colon + 1), out int port))
            throw new ShardFailedException($"A peer's silo takes no connections (its address is '{endpoint}').");
        string host = endpoint[..colon].Trim('[', ']');
        return IPAddress.TryParse(host, out IPAddress? address) ? new IPEndPoint(address, port) : new DnsEndPoint(host, port);
    }

    private sealed class LocalMeeting(ShardOpening opening)
    {
        private readonly IReadOnlyList<IProcessGroup> _ranks = ProcessGroups.CreateLocal(opening.Layout.Shards, opening.Epoch, ProcessGroupOptions.Default);

        public long Epoch => opening.Epoch;

        public IProcessGroup Take(int rank) => _ranks[rank];
    }
}
