using System.Diagnostics;
using System.Net.Sockets;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>What only sockets can do wrong.</summary>
public sealed class TcpFaultTests
{
    private const int Tag = 9;
    private static readonly TimeSpan AtOnce = TimeSpan.FromSeconds(0.7);

    [Theory, InlineData(1), InlineData(300), InlineData(400_000), InlineData(3_000_000)]
    public void A_cut_in_the_middle_fails_every_rank_at_once(long bytes)
    {
        (GroupUnderTest ranks, FaultyProxy[] proxies) = TcpRanks.CreateBehindProxies(3, TcpRanks.Options);
        using (ranks)
        {
            long cut = 0;
            ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
            {
                group.Barrier(Tag);
                if (group.Rank == 0)
                {
                    cut = Stopwatch.GetTimestamp();
                    proxies[1].CutAfter(bytes);     // between rank 2 and rank 1
                }

                for (int round = 0; round < 1000; round++)
                    group.AllReduce(new float[100_000], Tag);
            });
            Assert.True(Stopwatch.GetElapsedTime(cut) < AtOnce * 2, $"took {Stopwatch.GetElapsedTime(cut)}");
            Assert.All(failures, failure => Assert.Equal(ProcessGroupFault.PeerLost, failure.Cause));
            Assert.All(failures, failure => Assert.InRange(failure.Peer, 1, 2));
            Assert.Throws<ProcessGroupException>(() => ranks.Groups[0].Barrier(Tag));
        }
    }

    [Theory, InlineData(0), InlineData(1), InlineData(2)]
    public void Any_connection_that_is_cut_fails_a_waiting_group(int connection)
    {
        (GroupUnderTest ranks, FaultyProxy[] proxies) = TcpRanks.CreateBehindProxies(2, TcpRanks.Options with { DataConnections = 2, StripeBytes = 1000 });
        using (ranks)
        {
            using var entered = new ManualResetEventSlim();
            long cut = 0;
            ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
            {
                group.Barrier(Tag);
                if (group.Rank == 1)
                {
                    entered.Set();
                    group.Receive<byte>(0, new byte[50_000], Tag);
                }
                else
                {
                    entered.Wait();
                    cut = Stopwatch.GetTimestamp();
                    proxies[0].Cut(connection);
                    for (int round = 0; round < 100_000; round++)
                        group.Send<byte>(1, new byte[50_000], Tag + 1);
                }
            });
            Assert.True(Stopwatch.GetElapsedTime(cut) < AtOnce, $"took {Stopwatch.GetElapsedTime(cut)}");
            Assert.All(failures, failure => Assert.Equal(ProcessGroupFault.PeerLost, failure.Cause));
        }
    }

    [Fact]
    public void An_idle_group_learns_that_a_peer_is_gone()
    {
        (GroupUnderTest ranks, FaultyProxy[] proxies) = TcpRanks.CreateBehindProxies(2, TcpRanks.Options);
        using (ranks)
        {
            proxies[0].CutAll();
            Assert.All(ranks.Groups, group => Assert.True(group.Failed.WaitHandle.WaitOne(AtOnce)));
            Assert.All(ranks.Groups, group => Assert.Equal((ProcessGroupFault.PeerLost, 1 - group.Rank), (group.Failure!.Cause, group.Failure.Peer)));
        }
    }

    [Fact]
    public void A_frozen_peer_is_noticed_by_its_silence_and_a_short_pause_is_not()
    {
        (GroupUnderTest ranks, FaultyProxy[] proxies) = TcpRanks.CreateBehindProxies(3, TcpRanks.Options with { HeartbeatTimeout = TimeSpan.FromMilliseconds(600) });
        using (ranks)
        {
            long frozen = 0;
            ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
            {
                group.Barrier(Tag);
                if (group.Rank == 2)
                {
                    proxies[0].Freeze();
                    proxies[1].Freeze();
                    proxies[0].Thaw();
                    proxies[1].Thaw();
                }

                group.Barrier(Tag);
                if (group.Rank == 2)
                {
                    frozen = Stopwatch.GetTimestamp();
                    proxies[0].Freeze();            // between ranks 1, 2 and rank 0: rank 0 is alone
                }

                for (int round = 0; round < 1000; round++)
                    group.AllReduce(new float[10], Tag);
            });
            TimeSpan took = Stopwatch.GetElapsedTime(frozen);
            Assert.InRange(took.TotalSeconds, 0.3, 1.6);
            Assert.All(failures, failure => Assert.Equal(ProcessGroupFault.PeerSilent, failure.Cause));
        }
    }

    [Fact]
    public void A_slow_receiver_holds_its_sender_and_nothing_is_lost()
    {
        TcpMeshOptions options = TcpRanks.Options with { Group = ProcessGroupOptions.Default with { SendBufferBytes = 100_000 } };
        (GroupUnderTest ranks, _) = TcpRanks.CreateBehindProxies(2, options);
        using (ranks)
        {
            const int Messages = 400, Bytes = 100_000;
            int sent = 0;
            using var full = new ManualResetEventSlim();
            RankThreads.Run(ranks.Groups, group =>
            {
                var data = new byte[Bytes];
                if (group.Rank == 0)
                {
                    for (int i = 0; i < Messages; i++)
                    {
                        data.AsSpan().Fill((byte)i);
                        group.Send<byte>(1, data, i % 3);
                        Volatile.Write(ref sent, i + 1);
                    }
                }
                else
                {
                    // Until the sender has stopped: what is under way is bounded by the sockets' buffers and its own.
                    int before;
                    do
                    {
                        before = Volatile.Read(ref sent);
                        full.Wait(150);
                    }
                    while (Volatile.Read(ref sent) != before || before == 0);
                    Assert.InRange(before, 1, Messages - 1);
                    for (int i = 0; i < Messages; i++)
                    {
                        group.Receive<byte>(0, data, i % 3);
                        Assert.Equal(-1, data.AsSpan().IndexOfAnyExcept((byte)i));
                    }
                }
            });
        }
    }

    [Fact]
    public void Messages_nobody_asks_for_are_bounded()
    {
        using GroupUnderTest ranks = TcpRanks.Create(2, TcpRanks.Options with { ReceiveBufferBytes = 100_000 });
        ProcessGroupException[] failures = RankThreads.Fail(ranks.Groups, group =>
        {
            if (group.Rank == 0)
            {
                for (int i = 0; i < 3; i++)
                    group.Send<byte>(1, new byte[50_000], 1);
            }
            else
                group.Receive<byte>(0, new byte[5], 2);
            group.Barrier(Tag);
        });
        Assert.All(failures, failure => Assert.Equal(ProcessGroupFault.Protocol, failure.Cause));
        Assert.Contains("100000", failures[1].Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_old_epoch_is_refused_at_once_and_a_new_one_waited_for()
    {
        using TcpMesh first = TcpRanks.Listen(TcpRanks.Options with { JoinTimeout = TimeSpan.FromSeconds(8) });
        using TcpMesh second = TcpRanks.Listen(TcpRanks.Options);
        TcpGroupSpec spec = TcpRanks.Spec([first, second], epoch: 7);
        Task<IProcessGroup> waiting = first.JoinAsync(spec, 0);
        ProcessGroupException refused = await Assert.ThrowsAsync<ProcessGroupException>(() => second.JoinAsync(spec with { Epoch = 6 }, 1).WaitAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal((ProcessGroupFault.WrongEpoch, 1, 0), (refused.Cause, refused.Rank, refused.Peer));
        Assert.Contains("epoch 7", refused.Message, StringComparison.Ordinal);
        Assert.False(waiting.IsCompleted);
        using IProcessGroup one = await second.JoinAsync(spec, 1);
        using IProcessGroup zero = await waiting;

        // The next epoch's rank 1 comes before rank 0 knows of that epoch; the old rank that wakes up late is refused.
        Task<IProcessGroup> early = second.JoinAsync(spec with { Epoch = 8 }, 1);
        using IProcessGroup next = await first.JoinAsync(spec with { Epoch = 8 }, 0);
        using IProcessGroup nextOne = await early;
        Assert.Equal((8, 8), (next.Epoch, nextOne.Epoch));
        using TcpMesh zombie = TcpRanks.Listen(TcpRanks.Options);
        ProcessGroupException late = await Assert.ThrowsAsync<ProcessGroupException>(() => zombie.JoinAsync(spec, 1).WaitAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal(ProcessGroupFault.WrongEpoch, late.Cause);
        RankThreads.Run([next, nextOne], group => group.Barrier(Tag));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_wrong_secret_is_refused_and_harms_nobody(bool encrypted)
    {
        TcpMeshOptions options = encrypted ? Certificates.Encrypted : TcpRanks.Options;
        using TcpMesh first = TcpRanks.Listen(options), second = TcpRanks.Listen(options), stranger = TcpRanks.Listen(options);
        TcpGroupSpec spec = TcpRanks.Spec([first, second]);
        Task<IProcessGroup> waiting = first.JoinAsync(spec, 0);
        byte[] guess = [.. TcpRanks.Secret[..31], 0];
        ProcessGroupException refused = await Assert.ThrowsAsync<ProcessGroupException>(() => stranger.JoinAsync(spec with { Secret = guess }, 1).WaitAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal((ProcessGroupFault.WrongSecret, 0), (refused.Cause, refused.Peer));
        using IProcessGroup one = await second.JoinAsync(spec, 1);
        using IProcessGroup zero = await waiting;
        RankThreads.Run([zero, one], group => group.Barrier(Tag));
    }

    [Fact]
    public async Task Another_size_is_refused()
    {
        using TcpMesh first = TcpRanks.Listen(TcpRanks.Options), second = TcpRanks.Listen(TcpRanks.Options);
        TcpGroupSpec spec = TcpRanks.Spec([first, second]);
        using var stop = new CancellationTokenSource();
        Task<IProcessGroup> waiting = first.JoinAsync(spec with { Members = [first.EndPoint, second.EndPoint, second.EndPoint] }, 0, stop.Token);
        ProcessGroupException refused = await Assert.ThrowsAsync<ProcessGroupException>(() => second.JoinAsync(spec, 1).WaitAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal(ProcessGroupFault.Mismatch, refused.Cause);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
    }

    [Fact]
    public async Task A_rank_that_never_comes_is_named()
    {
        using TcpMesh first = TcpRanks.Listen(TcpRanks.Options with { JoinTimeout = TimeSpan.FromMilliseconds(200) });
        using TcpMesh second = TcpRanks.Listen(TcpRanks.Options with { JoinTimeout = TimeSpan.FromMilliseconds(200) });
        TcpGroupSpec spec = TcpRanks.Spec([first, second]);
        ProcessGroupException below = await Assert.ThrowsAsync<ProcessGroupException>(() => first.JoinAsync(spec, 0));
        Assert.Equal((ProcessGroupFault.Unreachable, 1), (below.Cause, below.Peer));
        ProcessGroupException above = await Assert.ThrowsAsync<ProcessGroupException>(() => second.JoinAsync(spec, 1));
        Assert.Equal((ProcessGroupFault.Unreachable, 0), (above.Cause, above.Peer));
    }

    [Fact]
    public async Task Strangers_on_the_port_disturb_nobody()
    {
        using TcpMesh first = TcpRanks.Listen(TcpRanks.Options), second = TcpRanks.Listen(TcpRanks.Options);
        using var mute = new Socket(SocketType.Stream, ProtocolType.Tcp);
        using var loud = new Socket(SocketType.Stream, ProtocolType.Tcp);
        mute.Connect(first.EndPoint);
        loud.Connect(first.EndPoint);
        loud.Send("GET / HTTP/1.1\r\nHost: silo\r\n\r\n"u8);
        TcpGroupSpec spec = TcpRanks.Spec([first, second]);
        IProcessGroup[] groups = await Task.WhenAll(first.JoinAsync(spec, 0), second.JoinAsync(spec, 1));
        RankThreads.Run(groups, group => group.Barrier(Tag));
        int answer = loud.Receive(new byte[10], SocketFlags.None, out SocketError error);
        Assert.True(answer == 0 || error == SocketError.ConnectionReset, $"{answer} bytes, {error}");
        groups[0].Dispose();
        groups[1].Dispose();
    }

    [Fact]
    public void A_group_of_one_needs_no_peer()
    {
        using GroupUnderTest ranks = TcpRanks.Create(1, TcpRanks.Options);
        float[] data = [1, 2];
        ranks.Groups[0].AllReduce(data, Tag);
        Assert.Equal([1f, 2f], data);
    }
}
