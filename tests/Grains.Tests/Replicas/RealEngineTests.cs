using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Replicas;

/// <summary>Real checkpoints through replica and shard: greedy tokens are the reference's, whatever the schedule was.</summary>
public sealed class RealEngineTests
{
    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task BatchedAndPreempted_EqualTheReference(string name)
    {
        using var checkpoint = ConformanceCheckpoint.Open(name);
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        // Room for the longest prompt and little more: the others come and go beside it.
        var all = new TaskCompletionSource();
        await using ClusterFixture cluster = await StartAsync(checkpoint, device, budget: 48, blocks: 12, all.Task);
        using var preemptions = new PreemptionCounter(cluster);
        Task check = CheckAllAsync(cluster, checkpoint, copies: 3);
        await TargetReplicaTests.WaitUntilAsync(async () => await cluster.Replica().GetLoad() is { } load && load.Running + load.Waiting == 12);
        all.SetResult();
        await check;
        Assert.True(preemptions.Count > 0, "Nobody was preempted: the pool was not tiny.");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(16)]
    [InlineData(31)]
    [InlineData(200)]
    public async Task AnyChunkSize_EqualsTheReference(int budget)
    {
        using var checkpoint = ConformanceCheckpoint.Open("qwen3");
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        await using ClusterFixture cluster = await StartAsync(checkpoint, device, budget, blocks: 64);
        await CheckAllAsync(cluster, checkpoint, copies: 1);
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task PrefixHits_EqualTheReference(string name)
    {
        using var checkpoint = ConformanceCheckpoint.Open(name);
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        await using ClusterFixture cluster = await StartAsync(checkpoint, device, budget: 64, blocks: 64);
        ExpectedPrompt prompt = checkpoint.Prompt("p130");
        foreach (int given in new[] { 0, 5, 24 })
        {
            SequenceStart start = Groups.Start(prompt.Ids, 24, generated: prompt.Greedy[..given]);
            Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group($"s{given}", start)))[0];
            Assert.Equal(prompt.Greedy[given..], answer.Ids);
            Assert.Equal(given is 0 or 24 ? 0 : 128, answer.CachedTokens);
        }
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task PromptLookup_EqualsTheReference(string name)
    {
        using var checkpoint = ConformanceCheckpoint.Open(name);
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        IShardEngine engine = await LoadAsync(checkpoint, device, budget: 48, blocks: 16, DType.Float32);
        await using ClusterFixture cluster = new() { Engine = (_, _) => engine, Configure = options => options.MaxNumBatchedTokens = 48 };
        cluster.Topology.Speculation = new SpeculativeConfig { Method = SpeculativeConfig.Ngram, NumSpeculativeTokens = 5, PromptLookupMin = 1, IsFixedLength = true };
        await cluster.StartAsync();
        await CheckAllAsync(cluster, checkpoint, copies: 3);
        Assert.True((await cluster.Replica().GetLoad()).Speculation is { Drafts: > 0 }, "Nothing was ever guessed.");
    }

    /// <summary>Narrow keys and values are lossy against the reference, and still the same whatever the schedule was.</summary>
    [Theory]
    [InlineData("llama", DType.Int8)]
    [InlineData("qwen3", DType.BFloat16)]
    [InlineData("qwen3", DType.Int8)]
    public async Task NarrowKeysAndValues_EqualThemselvesUnderAnySchedule(string name, DType kvType)
    {
        using var checkpoint = ConformanceCheckpoint.Open(name);
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        var alone = new Dictionary<string, int[]>();
        await using (ClusterFixture roomy = await StartAsync(checkpoint, device, budget: 200, blocks: 64, kvType: kvType))
        {
            foreach (ExpectedPrompt prompt in checkpoint.Expected.Prompts)
                alone[prompt.Id] = (await Groups.RunAsync(roomy.Replica(), Groups.Group(prompt.Id, Groups.Start(prompt.Ids, prompt.Greedy.Length))))[0].Ids;
        }

        var all = new TaskCompletionSource();
        await using ClusterFixture cluster = await StartAsync(checkpoint, device, budget: 48, blocks: 12, all.Task, kvType);
        using var preemptions = new PreemptionCounter(cluster);
        Task check = CheckAllAsync(cluster, checkpoint, copies: 3, prompt => alone[prompt.Id]);
        await TargetReplicaTests.WaitUntilAsync(async () => await cluster.Replica().GetLoad() is { } load && load.Running + load.Waiting == 12);
        all.SetResult();
        await check;
        Assert.True(preemptions.Count > 0, "Nobody was preempted: the pool was not tiny.");
    }

    [Fact]
    public async Task NarrowKeysAndValues_OfThePrefixCacheEqualThemselves()
    {
        using var checkpoint = ConformanceCheckpoint.Open("qwen3");
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        await using ClusterFixture cluster = await StartAsync(checkpoint, device, budget: 64, blocks: 64, kvType: DType.Int8);
        ExpectedPrompt prompt = checkpoint.Prompt("p130");
        int[]? first = null;
        foreach (int cached in (int[])[0, 128])
        {
            Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group($"c{cached}", Groups.Start(prompt.Ids, 24))))[0];
            Assert.Equal(cached, answer.CachedTokens);
            Assert.Equal(first ??= answer.Ids, answer.Ids);
        }
    }

    private static async Task CheckAllAsync(ClusterFixture cluster, ConformanceCheckpoint checkpoint, int copies, Func<ExpectedPrompt, int[]>? expected = null)
    {
        IEnumerable<Task> runs = Enumerable.Range(0, copies).SelectMany(_ => checkpoint.Expected.Prompts).Select(async (prompt, i) =>
        {
            SequenceGroup group = Groups.Group($"s{i}", Groups.Start(prompt.Ids, prompt.Greedy.Length)) with { AcceptedAt = i };
            Assert.Equal(expected?.Invoke(prompt) ?? prompt.Greedy, (await Groups.RunAsync(cluster.Replica(), group))[0].Ids);
        });
        await Task.WhenAll(runs);
    }

    private static async Task<ClusterFixture> StartAsync(ConformanceCheckpoint checkpoint, DeviceThread device, int budget, int blocks, Task? gate = null, DType kvType = DType.Float32)
    {
        IShardEngine engine = await LoadAsync(checkpoint, device, budget, blocks, kvType);
        return await new ClusterFixture { Engine = (_, _) => new GatedEngine(engine, gate ?? Task.CompletedTask), Configure = options => options.MaxNumBatchedTokens = budget }.StartAsync();
    }

    private static async Task<IShardEngine> LoadAsync(ConformanceCheckpoint checkpoint, DeviceThread device, int budget, int blocks, DType kvType)
    {
        ShardSpec spec = new()
        {
            ModelFolder = checkpoint.Folder,
            Device = device.Device,
            MaxModelLength = 160,
            MaxBatchedTokens = Math.Max(budget, 16),
            MaxSequences = 16,
            KvCacheBytes = 0,
            KvType = kvType,
        };
        Cluster.Kernels.Models.ModelConfig config = Cluster.Kernels.Models.ModelConfig.Load(checkpoint.Folder);
        long blockBytes = new KvCacheShape(config.Layers.Count, 1, spec.BlockSize, config.KvHeads, config.HeadDim, kvType).BlockBytes;
        return await ShardEngine.LoadAsync(spec with { KvCacheBytes = blocks * blockBytes }, device);
    }

    /// <summary>Starts its first step when the gate opens: by then all sequences have come.</summary>
    private sealed class GatedEngine(IShardEngine engine, Task gate) : IShardEngine
    {
        public ShardSpec Spec => engine.Spec;

        public int BlockCount => engine.BlockCount;

        public int BlockSize => engine.BlockSize;

        public void Join(Cluster.Kernels.Collectives.IProcessGroup? group) => engine.Join(group);

        public async Task<ForwardOutput> ExecuteAsync(ForwardBatch batch)
        {
            await gate;
            return await engine.ExecuteAsync(batch);
        }

        public ValueTask DisposeAsync() => engine.DisposeAsync();
    }
}
