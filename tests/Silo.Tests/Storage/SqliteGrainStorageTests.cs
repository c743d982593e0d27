using Cluster.Silo.Storage;
using Cluster.StorageWriter;
using Cluster.TestKit.Processes;
using Microsoft.Data.Sqlite;
using Orleans;
using Orleans.Runtime;

namespace Cluster.Silo.Tests.Storage;

public sealed class SqliteGrainStorageTests : GrainStorageConformance
{
    private readonly TemporaryFolder _folder = new();

    protected override string Where => $"sqlite:{_folder.File("store.db")}";

    [Fact]
    public async Task AFrozenStore_FailsTheWriteAndTakesItLater()
    {
        GrainId grain = Grain("frozen");
        GrainState<CounterState> state = await Write(grain, 1);
        using (var other = new SqliteConnection($"Data Source={_folder.File("store.db")};Pooling=False"))
        {
            other.Open();
            using SqliteCommand command = other.CreateCommand();
            command.CommandText = "BEGIN EXCLUSIVE";
            command.ExecuteNonQuery();
            await Assert.ThrowsAsync<StoreUnavailableException>(() => WriteNext(grain, state, 2));
        }
        await WriteNext(grain, state, 3);
        Assert.Equal(3, (await Read(grain)).State!.Value);
    }

    [Fact]
    public async Task AFlippedByteInARow_IsReportedAndOtherRowsStayReadable()
    {
        await Write(Grain("sound"), 1);
        await Write(Grain("damaged"), 2);
        using (var other = new SqliteConnection($"Data Source={_folder.File("store.db")};Pooling=False"))
        {
            other.Open();
            using SqliteCommand command = other.CreateCommand();
            command.CommandText = "UPDATE state SET payload = zeroblob(length(payload)) WHERE grain LIKE '%damaged'";
            Assert.Equal(1, command.ExecuteNonQuery());
        }
        StoreDamagedException exception = await Assert.ThrowsAsync<StoreDamagedException>(() => Read(Grain("damaged")));
        Assert.Contains("checksum", exception.Message, StringComparison.Ordinal);
        Assert.Equal(1, (await Read(Grain("sound"))).State!.Value);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(18)]
    [InlineData(100)]
    [InlineData(4096)]
    public async Task ACorruptFile_StopsTheStartWithTheFileName(int offset)
    {
        for (int i = 0; i < 200; i++)
            await Write(Grain($"row{i}"), i);
        await CloseAsync();
        byte[] content = await File.ReadAllBytesAsync(_folder.File("store.db"), TestContext.Current.CancellationToken);
        content.AsSpan(offset, 64).Fill(0xA5);
        await File.WriteAllBytesAsync(_folder.File("store.db"), content, TestContext.Current.CancellationToken);
        StoreDamagedException exception = Assert.Throws<StoreDamagedException>(() => SqliteStore.Open(_folder.File("store.db")));
        Assert.Contains("store.db", exception.Message, StringComparison.Ordinal);
        Assert.Contains("backup", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ATruncatedFile_StopsTheStart()
    {
        for (int i = 0; i < 200; i++)
            await Write(Grain($"row{i}"), i);
        await CloseAsync();
        using (FileStream file = File.OpenWrite(_folder.File("store.db")))
            file.SetLength(file.Length / 2);
        Assert.Throws<StoreDamagedException>(() => SqliteStore.Open(_folder.File("store.db")));
    }

    [Fact]
    public async Task ManyWritersShareACommit()
    {
        GrainState<CounterState>[] states = await Task.WhenAll(Enumerable.Range(0, 500).Select(i => Write(Grain($"many{i}"), i)));
        await Task.WhenAll(states.Select((state, i) => WriteNext(Grain($"many{i}"), state, i + 1)));
        for (int i = 0; i < 500; i++)
            Assert.Equal(i + 1, (await Read(Grain($"many{i}"))).State!.Value);
    }

    protected override Task PrepareAsync() => Task.CompletedTask;

    protected override void Clean() => _folder.Dispose();
}
