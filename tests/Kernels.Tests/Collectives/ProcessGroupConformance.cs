using Cluster.Kernels.Collectives;
using CsCheck;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>What every medium has to do: operations and their results.</summary>
public abstract class ProcessGroupConformance
{
    private const int Tag = 7;

    /// <summary>Makes a group of this medium.</summary>
    private protected abstract GroupUnderTest Create(int size, ProcessGroupOptions options);

    private GroupUnderTest Create(int size) => Create(size, ProcessGroupOptions.Default);

    public static TheoryData<int, int> SizesAndLengths
    {
        get
        {
            var data = new TheoryData<int, int>();
            foreach (int size in (int[])[1, 2, 3, 4, 5, 7, 8])
            {
                foreach (int length in (int[])[0, 1, 15, 16, 17, 333, 4096, 70_001])
                    data.Add(size, length);
            }

            data.Add(2, 1_500_000);
            data.Add(3, 1_500_001);
            return data;
        }
    }

    public static TheoryData<int> Sizes => [1, 2, 3, 4, 5];

    [Theory, MemberData(nameof(SizesAndLengths))]
    public void All_reduce_is_the_tree_sum_bit_for_bit(int size, int length)
    {
        using GroupUnderTest ranks = Create(size);
        float[] expected = Values.TreeSum(size, length);
        RankThreads.Run(ranks.Groups, group =>
        {
            float[] data = Values.Floats(group.Rank, length);
            group.AllReduce(data, Tag);
            Values.SameBits(expected, data);
        });
        Formulas.AllReduce(ranks.Groups, Tag, length);
    }

    [Theory, MemberData(nameof(SizesAndLengths))]
    public void Reduce_scatter_gives_each_rank_its_part_of_the_tree_sum(int size, int length)
    {
        using GroupUnderTest ranks = Create(size);
        int[] counts = Values.Counts(size, length / size);
        float[] expected = Values.TreeSum(size, counts.Sum());
        RankThreads.Run(ranks.Groups, group =>
        {
            var output = new float[counts[group.Rank]];
            group.ReduceScatter(Values.Floats(group.Rank, counts.Sum()), counts, output, Tag);
            Values.SameBits(expected.AsSpan(counts[..group.Rank].Sum(), output.Length), output);
        });
        Formulas.ReduceScatter(ranks.Groups, Tag, counts);
    }

    [Theory, MemberData(nameof(Sizes))]
    public void Reduce_scatter_in_place_and_in_equal_parts(int size)
    {
        using GroupUnderTest ranks = Create(size);
        float[] expected = Values.TreeSum(size, size * 100);
        RankThreads.Run(ranks.Groups, group =>
        {
            float[] data = Values.Floats(group.Rank, size * 100);
            Span<float> own = data.AsSpan(group.Rank * 100, 100);
            group.ReduceScatter(data, own, Tag);
            Values.SameBits(expected.AsSpan(group.Rank * 100, 100), own);
        });
    }

    [Theory, MemberData(nameof(SizesAndLengths))]
    public void All_gather_brings_ragged_parts_in_rank_order(int size, int length)
    {
        using GroupUnderTest ranks = Create(size);
        int[] counts = Values.Counts(size, length / size);
        byte[] expected = [.. Enumerable.Range(0, size).SelectMany(rank => Values.Bytes(rank, counts[rank]))];
        RankThreads.Run(ranks.Groups, group =>
        {
            var output = new byte[expected.Length];
            group.AllGather(Values.Bytes(group.Rank, counts[group.Rank]), counts, output, Tag);
            Assert.True(expected.AsSpan().SequenceEqual(output));
        });
        Formulas.AllGather(ranks.Groups, Tag, counts);
    }

    [Theory, MemberData(nameof(Sizes))]
    public void All_gather_in_place_and_in_equal_parts(int size)
    {
        using GroupUnderTest ranks = Create(size);
        long[] expected = [.. Enumerable.Range(0, size * 33).Select(i => (i / 33 * 1000L) + (i % 33))];
        RankThreads.Run(ranks.Groups, group =>
        {
            var output = new long[size * 33];
            Span<long> own = output.AsSpan(group.Rank * 33, 33);
            for (int i = 0; i < 33; i++)
                own[i] = (group.Rank * 1000L) + i;
            group.AllGather<long>(own, output, Tag);
            Assert.Equal(expected, output);
        });
    }

    [Theory, MemberData(nameof(SizesAndLengths))]
    public void All_to_all_gives_every_part_to_its_rank(int size, int length)
    {
        using GroupUnderTest ranks = Create(size);
        int[][] counts = [.. Enumerable.Range(0, size).Select(from => Values.Counts(size, length / size, from))];
        RankThreads.Run(ranks.Groups, group =>
        {
            byte[][] parts = [.. Enumerable.Range(0, size).Select(to => Values.Bytes(group.Rank, counts[group.Rank][to], to))];
            int[] incoming = [.. counts.Select(row => row[group.Rank])];
            byte[] expected = [.. Enumerable.Range(0, size).SelectMany(from => Values.Bytes(from, incoming[from], group.Rank))];
            var output = new byte[expected.Length];
            group.AllToAll<byte>([.. parts.SelectMany(part => part)], counts[group.Rank], output, incoming, Tag);
            Assert.True(expected.AsSpan().SequenceEqual(output));
        });
        Formulas.AllToAll(ranks.Groups, Tag, counts);
    }

    [Theory, MemberData(nameof(SizesAndLengths))]
    public void Broadcast_from_every_root(int size, int length)
    {
        using GroupUnderTest ranks = Create(size);
        RankThreads.Run(ranks.Groups, group =>
        {
            for (int root = 0; root < size; root++)
            {
                byte[] data = Values.Bytes(group.Rank, length, root);
                group.Broadcast(root, data, Tag);
                Assert.True(Values.Bytes(root, length, root).AsSpan().SequenceEqual(data));
            }
        });
        Formulas.BroadcastFromEveryRoot(ranks.Groups, Tag, length);
    }

    [Theory, MemberData(nameof(Sizes))]
    public void Nobody_passes_a_barrier_before_everybody_came(int size)
    {
        using GroupUnderTest ranks = Create(size);
        int come = 0;
        RankThreads.Run(ranks.Groups, group =>
        {
            for (int round = 1; round <= 50; round++)
            {
                Interlocked.Increment(ref come);
                group.Barrier(Tag);
                Assert.True(Volatile.Read(ref come) >= round * size);
                group.Barrier(Tag);
            }
        });
        Formulas.Same(ranks.Groups, Tag, rank => size == 1 ? new LedgerEntry(100, 0, 0, 0) : new LedgerEntry(100, 100, 0, 0));
    }

    [Theory, MemberData(nameof(SizesAndLengths))]
    public void A_pipeline_passes_messages_on(int size, int length)
    {
        using GroupUnderTest ranks = Create(size);
        RankThreads.Run(ranks.Groups, group =>
        {
            byte[] data = Values.Bytes(0, length);
            for (int micro = 0; micro < 3; micro++)
            {
                byte[] received = group.Rank == 0 ? Values.Bytes(micro, length) : new byte[length];
                if (group.Rank > 0)
                    group.Receive<byte>(group.Rank - 1, received, micro);
                if (group.Rank < size - 1)
                    group.Send<byte>(group.Rank + 1, received, micro);
                Assert.True(Values.Bytes(micro, length).AsSpan().SequenceEqual(received));
            }
        });
        for (int micro = 0; micro < 3; micro++)
        {
            Formulas.Same(ranks.Groups, micro, rank =>
            {
                int sends = rank < size - 1 ? 1 : 0, receives = rank > 0 ? 1 : 0;
                return new LedgerEntry(sends + receives, sends + receives, (long)sends * length, (long)receives * length);
            });
        }
    }

    [Fact]
    public void Messages_of_other_tags_may_be_taken_first_and_wait_through_collectives()
    {
        using GroupUnderTest ranks = Create(3);
        RankThreads.Run(ranks.Groups, group =>
        {
            int next = (group.Rank + 1) % 3, before = (group.Rank + 2) % 3;
            for (int tag = 0; tag < 20; tag++)
                group.Send<byte>(next, Values.Bytes(group.Rank, 1000 + tag, tag), tag);
            group.Send<byte>(next, Values.Bytes(group.Rank, 5, 99), 4);
            float[] sum = Values.Floats(group.Rank, 5000);
            group.AllReduce(sum, Tag);
            Values.SameBits(Values.TreeSum(3, 5000), sum);
            for (int tag = 19; tag >= 0; tag--)
                Assert.True(Values.Bytes(before, 1000 + tag, tag).AsSpan().SequenceEqual(Receive(group, before, 1000 + tag, tag)));
            Assert.True(Values.Bytes(before, 5, 99).AsSpan().SequenceEqual(Receive(group, before, 5, 4)));
        });
    }

    [Fact]
    public void A_message_beyond_the_buffer_waits_for_its_receiver()
    {
        using GroupUnderTest ranks = Create(2, ProcessGroupOptions.Default with { SendBufferBytes = 1000 });
        const int Large = 9_000_001;
        RankThreads.Run(ranks.Groups, group =>
        {
            for (int round = 0; round < 4; round++)
            {
                if (group.Rank == round % 2)
                    group.Send<byte>(1 - group.Rank, Values.Bytes(round, Large), Tag);
                else
                    Assert.True(Values.Bytes(round, Large).AsSpan().SequenceEqual(Receive(group, 1 - group.Rank, Large, Tag)));
            }
        });
    }

    [Fact]
    public void Subgroups_of_stages_and_of_columns_work_beside_their_group()
    {
        using GroupUnderTest ranks = Create(4);
        RankThreads.Run(ranks.Groups, group =>
        {
            int stage = group.Rank / 2, column = group.Rank % 2;
            using IProcessGroup tensor = group.Subgroup([stage * 2, (stage * 2) + 1]), pipeline = group.Subgroup([column + 2, column]);
            Assert.Equal((column, 2, 1 - stage, group.Epoch), (tensor.Rank, tensor.Size, pipeline.Rank, tensor.Epoch));
            for (int round = 0; round < 10; round++)
            {
                float[] own = [group.Rank + 1], all = [group.Rank + 1];
                tensor.AllReduce(own, Tag);
                Assert.Equal((stage * 4) + 3, own[0]);
                if (stage == 0)
                    pipeline.Send<float>(0, own, Tag);
                else
                    pipeline.Receive<float>(1, own, Tag);
                Assert.Equal(3, own[0]);
                group.AllReduce(all, Tag);
                Assert.Equal(10, all[0]);
            }

            Assert.Equal(10, tensor.Ledger[Tag].Operations);
            group.Barrier(Tag);
        });
    }

    [Fact]
    public void Random_programs_give_what_each_operation_gives_alone() =>
        Gen.Select(Gen.Int[1, 5], ProgramStep.Gen.Array[1, 12]).Sample(
            (size, program) =>
            {
                using GroupUnderTest ranks = Create(size);
                RankThreads.Run(ranks.Groups, group =>
                {
                    for (int step = 0; step < program.Length; step++)
                        program[step].Run(group, step);
                });
            },
            iter: 30,
            threads: 1);

    [Fact]
    public void Nothing_is_allocated_once_warm()
    {
        using GroupUnderTest ranks = Create(2);
        RankThreads.Run(ranks.Groups, group =>
        {
            var data = new float[20_000];
            var parts = new byte[40_000];
            long allocated = long.MaxValue;
            for (int round = 0; round < 5; round++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < 20; i++)
                    AllOperations(group, data, parts);
                allocated = Math.Min(allocated, GC.GetAllocatedBytesForCurrentThread() - before);
            }

            Assert.Equal(0, allocated);
        });
    }

    [Fact]
    public void Arguments_are_checked_before_anything_is_sent()
    {
        using GroupUnderTest ranks = Create(2);
        IProcessGroup group = ranks.Groups[0];
        Assert.Throws<ArgumentOutOfRangeException>(() => group.Barrier(256));
        Assert.Throws<ArgumentOutOfRangeException>(() => group.Barrier(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => group.Send<byte>(0, [1], Tag));
        Assert.Throws<ArgumentOutOfRangeException>(() => group.Receive<byte>(2, new byte[1], Tag));
        Assert.Throws<ArgumentOutOfRangeException>(() => group.Broadcast<byte>(2, new byte[1], Tag));
        Assert.Throws<ArgumentException>(() => group.AllGather<byte>([1], [1, 1], new byte[3], Tag));
        Assert.Throws<ArgumentException>(() => group.AllGather<byte>([1, 2], [1, 1], new byte[2], Tag));
        Assert.Throws<ArgumentException>(() => group.AllGather<byte>([1], [1], new byte[1], Tag));
        Assert.Throws<ArgumentOutOfRangeException>(() => group.ReduceScatter([1], [2, -1], new float[2], Tag));
        Assert.Throws<ArgumentException>(() => group.Subgroup([1]));
        Assert.Throws<ArgumentException>(() => group.Subgroup([0, 0]));
        Assert.Throws<ArgumentException>(() => group.Subgroup([0, 2]));
        Assert.Null(group.Failure);
        Assert.Equal(default, group.Ledger.Total);
    }

    private static void AllOperations(IProcessGroup group, float[] data, byte[] parts)
    {
        group.AllReduce(data.AsSpan(0, 2000), 1);
        group.AllReduce(data, 1);
        group.ReduceScatter(data, data.AsSpan(group.Rank * 10_000, 10_000), 2);
        group.AllGather<byte>(parts.AsSpan(group.Rank * 20_000, 20_000), parts, 3);
        group.AllToAll<byte>(parts.AsSpan(0, 20_000), parts.AsSpan(20_000), 4);
        group.Broadcast<byte>(1, parts, 5);
        if (group.Rank == 0)
            group.Send<byte>(1, parts, 6);
        else
            group.Receive<byte>(0, parts, 6);
        group.Barrier(7);
    }

    private static byte[] Receive(IProcessGroup group, int peer, int bytes, int tag)
    {
        var data = new byte[bytes];
        group.Receive<byte>(peer, data, tag);
        return data;
    }
}
