using System.Net;

namespace Cluster.Kernels.Collectives;

/// <summary>What all ranks of a group over processes know before they meet. Negotiated through grains.</summary>
/// <param name="Name">The group's name, unique among the groups of a cluster: replica and purpose. At most 200 bytes of UTF-8.</param>
/// <param name="Epoch">The replica's epoch: ranks of another one are refused.</param>
/// <param name="Secret">The replica's secret, 16 bytes or more: both sides of every connection prove that they know it.</param>
/// <param name="Members">Where each rank's process listens (<see cref="TcpMesh.EndPoint"/>), in rank order.</param>
public sealed record TcpGroupSpec(string Name, long Epoch, ReadOnlyMemory<byte> Secret, IReadOnlyList<EndPoint> Members);
