using Cluster.StorageWriter;
using Cluster.TestKit.Processes;
using Orleans;
using Orleans.Runtime;

namespace Cluster.Silo.Tests.Storage;

public sealed class RedisGrainStorageTests : GrainStorageConformance
{
    private readonly RedisServer _redis = new();

    protected override string Where => $"redis:{_redis.Connection}";

    [Fact]
    public async Task AFrozenStore_FailsTheWriteAndAnswersAgainAfterwards()
    {
        GrainId grain = Grain("frozen");
        GrainState<CounterState> state = await Write(grain, 1);
        _redis.Process.Freeze();
        await Assert.ThrowsAnyAsync<Exception>(() => WriteNext(grain, state, 2));
        _redis.Process.Thaw();

        // A write that timed out may still have been applied: the writer reads again and goes on from what is there.
        GrainState<CounterState> read = await Read(grain);
        Assert.InRange(read.State!.Value, 1, 2);
        await WriteNext(grain, read, 3);
        Assert.Equal(3, (await Read(grain)).State!.Value);
    }

    [Fact]
    public async Task AKilledServer_KeepsAcknowledgedWrites()
    {
        GrainId grain = Grain("killed");
        GrainState<CounterState> state = await Write(grain, 1);
        await WriteNext(grain, state, 2);
        await CloseAsync();
        _redis.Kill();
        await _redis.StartAsync();
        await ReopenAsync();
        Assert.Equal(2, (await Read(grain)).State!.Value);
    }

    protected override Task PrepareAsync()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        return _redis.StartAsync();
    }

    protected override void Clean() => _redis.Dispose();
}
