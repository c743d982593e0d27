using Cluster.StorageWriter;
using Cluster.TestKit.Processes;
using Orleans;
using Orleans.Runtime;
using Orleans.Storage;

namespace Cluster.Silo.Tests.Storage;

/// <summary>What the grains rely on, for every storage provider: etag rules, and no acknowledged write lost in a kill.</summary>
public abstract class GrainStorageConformance : IAsyncLifetime
{
    private const string Name = "counter";
    private StorageUnderTest? _opened;

    /// <summary>sqlite:FILE or redis:CONNECTION.</summary>
    protected abstract string Where { get; }

    private IGrainStorage Storage => _opened!.Storage;

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        await PrepareAsync();
        try
        {
            _opened = await StorageUnderTest.OpenAsync(Where);
        }
        catch
        {
            Clean();
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        if (_opened is not null)
            await _opened.DisposeAsync();
        Clean();
    }

    [Fact]
    public async Task ReadOfNothing_GivesAFreshState()
    {
        GrainState<CounterState> read = await Read(Grain("absent"));
        Assert.False(read.RecordExists);
        Assert.Null(read.ETag);
        Assert.Equal(0, read.State!.Value);
    }

    [Fact]
    public async Task WhatWasWritten_IsReadWithItsEtag()
    {
        GrainId grain = Grain("a");
        GrainState<CounterState> written = await Write(grain, 7);
        GrainState<CounterState> read = await Read(grain);
        Assert.True(read.RecordExists);
        Assert.Equal(7, read.State!.Value);
        Assert.Equal(written.ETag, read.ETag);
    }

    [Fact]
    public async Task SecondWriterWithAnOldEtag_IsRefusedAndNothingChanges()
    {
        GrainId grain = Grain("b");
        GrainState<CounterState> first = await Write(grain, 1);
        GrainState<CounterState> second = await Read(grain);
        second.State!.Value = 2;
        await Storage.WriteStateAsync(Name, grain, second);

        first.State!.Value = 3;
        await Assert.ThrowsAsync<InconsistentStateException>(() => Storage.WriteStateAsync(Name, grain, first));
        Assert.Equal(2, (await Read(grain)).State!.Value);
    }

    [Fact]
    public async Task InsertOverAnExistingRow_IsRefused()
    {
        GrainId grain = Grain("c");
        await Write(grain, 1);
        await Assert.ThrowsAsync<InconsistentStateException>(() => Write(grain, 2));
        Assert.Equal(1, (await Read(grain)).State!.Value);
    }

    [Fact]
    public async Task ClearWithAnOldEtag_IsRefused()
    {
        GrainId grain = Grain("d");
        GrainState<CounterState> stale = await Write(grain, 1);
        GrainState<CounterState> current = await Read(grain);
        current.State!.Value = 2;
        await Storage.WriteStateAsync(Name, grain, current);
        await Assert.ThrowsAsync<InconsistentStateException>(() => Storage.ClearStateAsync(Name, grain, stale));
        Assert.Equal(2, (await Read(grain)).State!.Value);
    }

    [Fact]
    public async Task AfterClear_TheRowIsGoneAndCanBeWrittenAgain()
    {
        GrainId grain = Grain("e");
        GrainState<CounterState> state = await Write(grain, 1);
        await Storage.ClearStateAsync(Name, grain, state);
        Assert.False((await Read(grain)).RecordExists);
        await Write(grain, 5);
        Assert.Equal(5, (await Read(grain)).State!.Value);
    }

    [Fact]
    public async Task ConcurrentWritersOfOneRow_OneWinsEachRound()
    {
        GrainId grain = Grain("f");
        await Write(grain, 0);
        GrainState<CounterState>[] writers = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => Read(grain)));
        bool[] won = await Task.WhenAll(writers.Select(async (state, index) =>
        {
            state.State!.Value = index + 1;
            try
            {
                await Storage.WriteStateAsync(Name, grain, state);
                return true;
            }
            catch (InconsistentStateException)
            {
                return false;
            }
        }));
        int winner = Assert.Single(Enumerable.Range(0, 16), index => won[index]);
        Assert.Equal(winner + 1, (await Read(grain)).State!.Value);
    }

    [Fact]
    public async Task KilledUnderLoad_KeepsEveryAcknowledgedWrite()
    {
        const int Writers = 16;
        const int Acknowledgements = 2000;
        await CloseAsync();
        var acknowledged = new long[Writers];
        using (var process = new ChildProcess("dotnet", [typeof(StorageUnderTest).Assembly.Location, Where, $"{Writers}"]))
        {
            await process.WaitForLineAsync(line => process.Lines.Count > Acknowledgements, TimeSpan.FromSeconds(60));
            process.Kill();
            foreach (string[] words in process.Lines.Select(line => line.Split(' ')).Where(words => words is ["ack", _, _]))
                acknowledged[int.Parse(words[1])] = Math.Max(acknowledged[int.Parse(words[1])], long.Parse(words[2]));
        }

        _opened = await StorageUnderTest.OpenAsync(Where);
        Assert.All(acknowledged, value => Assert.True(value > 0));
        for (int writer = 0; writer < Writers; writer++)
        {
            GrainState<CounterState> state = await Read(GrainId.Create("writer", $"{writer}"));
            Assert.InRange(state.State!.Value, acknowledged[writer], acknowledged[writer] + 1);
        }
    }

    /// <summary>Starts what the provider needs.</summary>
    protected abstract Task PrepareAsync();

    /// <summary>Ends what <see cref="PrepareAsync"/> started.</summary>
    protected abstract void Clean();

    /// <summary>Closes the provider, so that a test can do something to what is behind it.</summary>
    protected async Task CloseAsync()
    {
        await _opened!.DisposeAsync();
        _opened = null;
    }

    /// <summary>Opens it again.</summary>
    protected async Task ReopenAsync() => _opened = await StorageUnderTest.OpenAsync(Where);

    /// <summary>Writes a first value to a grain's state.</summary>
    protected async Task<GrainState<CounterState>> Write(GrainId grain, long value)
    {
        var state = new GrainState<CounterState> { State = new CounterState { Value = value } };
        await Storage.WriteStateAsync(Name, grain, state);
        return state;
    }

    /// <summary>Writes a next value.</summary>
    protected Task WriteNext(GrainId grain, GrainState<CounterState> state, long value)
    {
        state.State!.Value = value;
        return Storage.WriteStateAsync(Name, grain, state);
    }

    /// <summary>Reads a grain's state.</summary>
    protected async Task<GrainState<CounterState>> Read(GrainId grain)
    {
        var state = new GrainState<CounterState> { State = new CounterState() };
        await Storage.ReadStateAsync(Name, grain, state);
        return state;
    }

    /// <summary>A grain id.</summary>
    protected static GrainId Grain(string key) => GrainId.Create("test", key);
}
