using System.Diagnostics;
using System.Globalization;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>What every medium has to do: how a group fails, as one and at once.</summary>
public abstract class ProcessGroupFailureConformance
{
    private const int Tag = 3;
    private static readonly TimeSpan AtOnce = TimeSpan.FromSeconds(0.9);

    /// <summary>Makes a group of this medium.</summary>
    private protected abstract GroupUnderTest Create(int size, ProcessGroupOptions options);

    private GroupUnderTest Create(int size) => Create(size, ProcessGroupOptions.Default);

    public static TheoryData<string, string> Differences => new()
    {
        { "reduce 100", "reduce 101" }, { "reduce 100", "reduce 90000" }, { "reduce 100", "gather 100" }, { "reduce 100", "barrier" },
        { "scatter 64", "scatter 96" }, { "gather 50", "gather 51" }, { "exchange 40", "exchange 41" }, { "broadcast 40", "broadcast 41" },
        { "broadcast 40", "barrier" }, { "reduce 90000", "receive 360000" }, { "barrier", "receive 3" }, { "send 5", "receive 6" },
        { "send 0", "receive 1" }, { "reduce 70000", "scatter 70000" },
    };

    [Theory, MemberData(nameof(Differences))]
    public void Different_programs_are_told_apart_and_both_calls_named(string one, string other)
    {
        using GroupUnderTest ranks = Create(2);
        ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
        {
            Call(group, group.Rank == 0 ? one : other);
            group.Barrier(200);
        });
        Assert.All(failures, failure =>
        {
            Assert.Equal(ProcessGroupFault.Mismatch, failure.Cause);
            Assert.Contains(Name(one), failure.Message, StringComparison.Ordinal);
            Assert.Contains(Name(other), failure.Message, StringComparison.Ordinal);
        });
    }

    [Fact]
    public void Different_tags_of_the_same_operation_are_told_apart()
    {
        using GroupUnderTest ranks = Create(3);
        ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
        {
            group.Barrier(1);
            group.AllReduce(new float[10], group.Rank == 1 ? 5 : 4);
            group.Barrier(1);
        });
        Assert.All(failures, failure => Assert.Equal(ProcessGroupFault.Mismatch, failure.Cause));
        Assert.Contains("tag 4", failures[0].Message, StringComparison.Ordinal);
        Assert.Contains("tag 5", failures[0].Message, StringComparison.Ordinal);
    }

    public static TheoryData<string> Operations =>
        ["reduce 100", "reduce 500000", "scatter 64", "gather 10", "exchange 1000", "broadcast 100", "barrier", "receive 10", "send 30000000"];

    [Theory, MemberData(nameof(Operations))]
    public void Abort_frees_every_blocked_rank_and_stays(string operation)
    {
        using GroupUnderTest ranks = Create(3);
        (ProcessGroupException[] failures, TimeSpan took) = FailBy(ranks, operation, group => group.Abort("enough"));
        Assert.True(took < AtOnce, $"took {took}");
        Assert.All(failures, failure => Assert.Equal((ProcessGroupFault.Aborted, 2, "enough"), (failure.Cause, failure.Peer, failure.Reason)));
        Assert.All(ranks.Groups, group =>
        {
            Assert.Equal(ProcessGroupFault.Aborted, Assert.Throws<ProcessGroupException>(() => group.Barrier(1)).Cause);
            Assert.Equal("enough", group.Failure?.Reason);
            Assert.True(group.Failed.WaitHandle.WaitOne(AtOnce));
        });
    }

    [Theory, MemberData(nameof(Operations))]
    public void Dispose_of_one_rank_frees_the_others(string operation)
    {
        using GroupUnderTest ranks = Create(3);
        (ProcessGroupException[] failures, TimeSpan took) = FailBy(ranks, operation, group => group.Dispose());
        Assert.True(took < AtOnce, $"took {took}");
        Assert.All(failures, failure => Assert.Equal((ProcessGroupFault.Disposed, 2), (failure.Cause, failure.Peer)));
    }

    [Fact]
    public void Abort_of_a_subgroup_is_abort_of_all()
    {
        using GroupUnderTest ranks = Create(3);
        ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
        {
            if (group.Rank == 2)
                group.Barrier(Tag);
            IProcessGroup pair = group.Subgroup([1, 0]);
            if (group.Rank == 0)
                pair.Abort("half");
            pair.Barrier(Tag);
        });
        Assert.All(failures, failure => Assert.Equal((ProcessGroupFault.Aborted, 0, "half"), (failure.Cause, failure.Peer, failure.Reason)));
    }

    [Fact]
    public void The_last_operation_before_a_rank_leaves_ends_well_on_all()
    {
        for (int round = 0; round < 20; round++)
        {
            using GroupUnderTest ranks = Create(3);
            RankThreads.Run(ranks.Groups, group =>
            {
                float[] data = Values.Floats(group.Rank, 30_000);
                group.AllReduce(data, Tag);
                Values.SameBits(Values.TreeSum(3, 30_000), data);
                group.Dispose();
            });
        }
    }

    [Fact]
    public void A_peer_that_does_not_come_is_a_timeout()
    {
        using GroupUnderTest ranks = Create(2, ProcessGroupOptions.Default with { OperationTimeout = TimeSpan.FromMilliseconds(150) });
        ProcessGroupException failure = Assert.Throws<ProcessGroupException>(() => ranks.Groups[0].Barrier(Tag));
        Assert.Equal((ProcessGroupFault.Timeout, 1, CollectiveOp.Barrier, Tag), (failure.Cause, failure.Peer, failure.Operation, failure.Tag));
        Assert.True(ranks.Groups[1].Failed.WaitHandle.WaitOne(AtOnce));
        Assert.Equal(ProcessGroupFault.Timeout, Assert.Throws<ProcessGroupException>(() => ranks.Groups[1].Barrier(Tag)).Cause);
    }

    // Ranks 0 and 1 are in the operation, or about to enter it, when rank 2 does what makes the group fail.
    private static (ProcessGroupException[] Failures, TimeSpan Took) FailBy(GroupUnderTest ranks, string operation, Action<IProcessGroup> fail)
    {
        using var entering = new CountdownEvent(2);
        long start = 0;
        ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
        {
            group.Barrier(Tag);
            if (group.Rank != 2)
            {
                Action call = Prepare(group, operation, peer: 2);
                entering.Signal();
                call();
                group.Barrier(Tag);
            }
            else
            {
                entering.Wait();
                start = Stopwatch.GetTimestamp();
                fail(group);
                group.Barrier(Tag);
            }
        });
        return (failures, Stopwatch.GetElapsedTime(start));
    }

    private static void Call(IProcessGroup group, string call) => Prepare(group, call, 1 - group.Rank)();

    // The memory is there before the clock starts.
    private static Action Prepare(IProcessGroup group, string call, int peer)
    {
        string[] words = call.Split(' ');
        int count = words.Length > 1 ? int.Parse(words[1], CultureInfo.InvariantCulture) : 0;
        byte[] one = new byte[count], all = new byte[count * (words[0] is "gather" or "exchange" ? group.Size : 1)], other = new byte[all.Length];
        float[] floats = new float[words[0] is "reduce" or "scatter" ? count * group.Size : 0];
        return words[0] switch
        {
            "reduce" => () => group.AllReduce(floats.AsSpan(0, count), Tag),
            "scatter" => () => group.ReduceScatter(floats, new float[count], Tag),
            "gather" => () => group.AllGather<byte>(one, all, Tag),
            "exchange" => () => group.AllToAll<byte>(all, other, Tag),
            "broadcast" => () => group.Broadcast<byte>(0, one, Tag),
            "send" => () => group.Send<byte>(peer, one, Tag),
            "receive" => () => group.Receive<byte>(peer, one, Tag),
            _ => () => group.Barrier(Tag),
        };
    }

    private static string Name(string call) => call.Split(' ')[0] switch
    {
        "reduce" => "AllReduce",
        "scatter" => "ReduceScatter",
        "gather" => "AllGather",
        "exchange" => "AllToAll",
        "broadcast" => "Broadcast",
        "send" => "Send",
        "receive" => "Receive",
        _ => "Barrier",
    };
}
