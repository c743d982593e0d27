using CsCheck;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>One operation of a random program, run and checked on every rank.</summary>
internal sealed record ProgramStep(CollectiveOp Operation, int Tag, int Length, int Peer)
{
    public static Gen<ProgramStep> Gen { get; } = CsCheck.Gen.Select(
        CsCheck.Gen.Int[1, 7], CsCheck.Gen.Int[0, 255], CsCheck.Gen.OneOf(CsCheck.Gen.Int[0, 40], CsCheck.Gen.Int[0, 30_000]), CsCheck.Gen.Int[0, 100],
        (operation, tag, length, peer) => new ProgramStep((CollectiveOp)operation, tag, length, peer));

    public void Run(IProcessGroup group, int salt)
    {
        int size = group.Size, rank = group.Rank, root = Peer % size;
        int[] counts = Values.Counts(size, Length, salt);
        switch (Operation)
        {
            case CollectiveOp.AllReduce:
                float[] sum = Values.Floats(rank, Length, salt);
                group.AllReduce(sum, Tag);
                Values.SameBits(Values.TreeSum(size, Length, salt), sum);
                break;
            case CollectiveOp.ReduceScatter:
                var part = new float[counts[rank]];
                group.ReduceScatter(Values.Floats(rank, counts.Sum(), salt), counts, part, Tag);
                Values.SameBits(Values.TreeSum(size, counts.Sum(), salt).AsSpan(counts[..rank].Sum(), counts[rank]), part);
                break;
            case CollectiveOp.AllGather:
                var all = new byte[counts.Sum()];
                group.AllGather<byte>(Values.Bytes(rank, counts[rank], salt), counts, all, Tag);
                Assert.Equal([.. Enumerable.Range(0, size).SelectMany(r => Values.Bytes(r, counts[r], salt))], all);
                break;
            case CollectiveOp.AllToAll:
                int[] incoming = [.. Enumerable.Repeat(counts[rank], size)];
                byte[] parts = [.. Enumerable.Range(0, size).SelectMany(to => Values.Bytes(rank, counts[to], salt + to))];
                var got = new byte[incoming.Sum()];
                group.AllToAll<byte>(parts, counts, got, incoming, Tag);
                Assert.Equal([.. Enumerable.Range(0, size).SelectMany(from => Values.Bytes(from, counts[rank], salt + rank))], got);
                break;
            case CollectiveOp.Broadcast:
                byte[] data = Values.Bytes(rank, Length, salt);
                group.Broadcast<byte>(root, data, Tag);
                Assert.Equal(Values.Bytes(root, Length, salt), data);
                break;
            case CollectiveOp.Send:
                PassOn(group, root, salt);
                break;
            default:
                group.Barrier(Tag);
                break;
        }
    }

    // Root to everybody else, one message each.
    private void PassOn(IProcessGroup group, int root, int salt)
    {
        if (group.Rank != root)
        {
            var data = new byte[Length];
            group.Receive<byte>(root, data, Tag);
            Assert.Equal(Values.Bytes(group.Rank, Length, salt), data);
            return;
        }

        for (int peer = 0; peer < group.Size; peer++)
        {
            if (peer != root)
                group.Send<byte>(peer, Values.Bytes(peer, Length, salt), Tag);
        }
    }
}
