using System.Net;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>Groups over real sockets: a mesh per rank, as if each were a process of its own, or one for all.</summary>
internal static class TcpRanks
{
    public static readonly byte[] Secret = [.. Enumerable.Range(1, 32).Select(i => (byte)i)];
    private static int _names;

    public static TcpMeshOptions Options { get; } = TcpMeshOptions.Default with { JoinTimeout = TimeSpan.FromSeconds(15) };

    public static TcpMesh Listen(TcpMeshOptions options) => TcpMesh.Listen(new IPEndPoint(IPAddress.Loopback, 0), options);

    public static TcpGroupSpec Spec(IEnumerable<TcpMesh> meshes, long epoch = 5) => Spec(meshes.Select(mesh => (EndPoint)mesh.EndPoint), epoch);

    public static TcpGroupSpec Spec(IEnumerable<EndPoint> members, long epoch = 5) =>
        new($"group {Interlocked.Increment(ref _names)}", epoch, Secret, [.. members]);

    /// <summary>Ranks of processes of their own, or of two ranks each, or all of one.</summary>
    public static GroupUnderTest Create(int size, TcpMeshOptions options, int ranksPerMesh = 1)
    {
        TcpMesh[] meshes = [.. Enumerable.Range(0, (size + ranksPerMesh - 1) / ranksPerMesh).Select(_ => Listen(options))];
        TcpMesh[] byRank = [.. Enumerable.Range(0, size).Select(rank => meshes[rank / ranksPerMesh])];
        return new GroupUnderTest(Join(byRank, Spec(byRank)), meshes);
    }

    /// <summary>Ranks whose connections go through proxies.</summary>
    public static (GroupUnderTest Ranks, FaultyProxy[] Proxies) CreateBehindProxies(int size, TcpMeshOptions options, int pieceBytes = int.MaxValue)
    {
        TcpMesh[] meshes = [.. Enumerable.Range(0, size).Select(_ => Listen(options))];
        FaultyProxy[] proxies = [.. meshes.Select(mesh => new FaultyProxy(mesh.EndPoint, pieceBytes))];
        IReadOnlyList<IProcessGroup> groups = Join(meshes, Spec(proxies.Select(proxy => (EndPoint)proxy.EndPoint)));
        return (new GroupUnderTest(groups, [.. meshes, .. proxies]), proxies);
    }

    public static IReadOnlyList<IProcessGroup> Join(TcpMesh[] byRank, TcpGroupSpec spec) =>
        Task.WhenAll(byRank.Select((mesh, rank) => mesh.JoinAsync(spec, rank))).WaitAsync(TimeSpan.FromSeconds(20)).GetAwaiter().GetResult();
}
