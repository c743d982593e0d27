using System.Runtime.InteropServices;

namespace Cluster.Kernels.Collectives;

/// <summary>What stands before a payload. Little-endian, as every machine that runs .NET is.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1, Size = Bytes)]
internal struct FrameHeader
{
    public const int Bytes = 40;
    public const ushort Mark = 0x4347;

    public ushort Magic;
    public CollectiveOp Operation;
    public byte Tag;

    /// <summary>Root of a broadcast, receiver of a message.</summary>
    public int Peer;

    /// <summary>Group or subgroup.</summary>
    public ulong Channel;

    /// <summary>Number of the exchange within the channel; 0 for messages.</summary>
    public long Sequence;

    /// <summary>Bytes of the whole call.</summary>
    public long CallBytes;

    /// <summary>Bytes that follow.</summary>
    public long PayloadBytes;

    /// <summary>A call as one of its frames tells it.</summary>
    public readonly RankCall AsCall() => new() { Operation = Operation, Tag = Tag, Peer = Peer, InputBytes = CallBytes };
}
