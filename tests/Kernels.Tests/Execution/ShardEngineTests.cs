using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Sampling;
using Cluster.Kernels.Tests.Models;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Execution;

public sealed class ShardEngineTests
{
    private static string Folder(string name) => SharedData.InRepository("tests", "Checkpoints", name);

    private static ForwardBatch Good() => new()
    {
        Rows = 3,
        Sequences = 2,
        TokenIds = [1, 2, 3],
        Positions = [0, 1, 0],
        SlotMapping = [0, 1, 4],
        RowStarts = [0, 2, 3],
        ContextLengths = [2, 1],
        BlockTable = [0, 1],
        BlockStarts = [0, 1, 2],
        LogitRows = [1, 2],
        Logits = [TestSequence.Greedy, TestSequence.Greedy],
    };

    [Fact]
    public async Task A_batch_that_does_not_fit_is_refused_by_name_and_the_shard_goes_on()
    {
        await using LoadedShard shard = await LoadedShard.OpenAsync(Folder("llama"));
        foreach ((string field, ForwardBatch batch) in BadBatches())
        {
            BatchRejectedException error = await Assert.ThrowsAsync<BatchRejectedException>(() => shard.Engine.ExecuteAsync(batch));
            Assert.Equal(field, error.Field);
            Assert.Contains(error.Actual, error.Message);
        }
        Assert.Equal(2, (await shard.Engine.ExecuteAsync(Good())).Results.Length);
    }

    [Fact]
    public async Task Bad_sampling_parameters_are_refused_by_name()
    {
        await using LoadedShard shard = await LoadedShard.OpenAsync(Folder("llama"));
        foreach ((string field, SamplingState state) in BadStates())
        {
            var request = new LogitRequest(state, -1, -1);
            ForwardBatch batch = Change(batch => batch.Logits[1] = request);
            BatchRejectedException error = await Assert.ThrowsAsync<BatchRejectedException>(() => shard.Engine.ExecuteAsync(batch));
            Assert.Equal(field, error.Field);
        }
    }

    [Fact]
    public async Task Two_models_share_one_device_thread()
    {
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        string[] names = ["llama", "qwen3_moe"];
        ShardEngine[] engines = await Task.WhenAll(names.Select(name => ShardEngine.LoadAsync(LoadedShard.Spec(Folder(name)), device)));
        await Task.WhenAll(names.Zip(engines).Select(async pair =>
        {
            using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(pair.First);
            ExpectedPrompt prompt = checkpoint.Prompt("p7");
            var sequence = new TestSequence(prompt.Ids, LoadedShard.Blocks(prompt.Ids.Length + 24));
            for (int rows = prompt.Ids.Length; sequence.Tokens.Count < prompt.Ids.Length + 24; rows = 1)
                sequence.Tokens.Add((await pair.Second.ExecuteAsync(TestSequence.Batch(LoadedShard.BlockSize, [(sequence, rows)], TestSequence.Greedy))).Results[0].Token);
            Assert.Equal(prompt.Greedy, sequence.Tokens[prompt.Ids.Length..]);
        }));
        foreach (ShardEngine engine in engines)
            await engine.DisposeAsync();
    }

    [Fact]
    public async Task Steps_run_in_the_order_of_the_calls()
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open("llama");
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        ExpectedPrompt prompt = checkpoint.Prompt("p33");
        var sequence = new TestSequence(prompt.Ids, LoadedShard.Blocks(prompt.Ids.Length));
        // All pieces are in flight at once; each needs the keys of the one before.
        Task<ForwardOutput>[] steps = [.. Enumerable.Range(0, 11).Select(_ =>
            shard.Engine.ExecuteAsync(TestSequence.Batch(LoadedShard.BlockSize, [(sequence, 3)], TestSequence.Greedy)))];
        ForwardOutput[] outputs = await Task.WhenAll(steps);
        Assert.Equal(prompt.Greedy[0], outputs[^1].Results[0].Token);
    }

    [Fact]
    public async Task Log_probabilities_of_every_prompt_row_come_in_one_step()
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open("llama");
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        int[] ids = checkpoint.Prompt("p130").Ids;       // more rows than one tile of logits
        float[][] logits = await shard.LogitsAsync((new TestSequence(ids, LoadedShard.Blocks(ids.Length)), ids.Length));
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence(ids, LoadedShard.Blocks(ids.Length)), ids.Length)], TestSequence.Greedy, everyRow: true);
        for (int row = 0; row < ids.Length; row++)
            batch.Logits[row] = new LogitRequest(null, row + 1 < ids.Length ? ids[row + 1] : 0, 3);
        ForwardOutput output = await shard.Engine.ExecuteAsync(batch);
        Assert.True(ids.Length > shard.Model.Workspace.LogitTile);
        for (int row = 0; row < ids.Length; row++)
        {
            double total = Math.Log(logits[row].Sum(x => Math.Exp(x)));
            Assert.Equal(logits[row][batch.Logits[row].ScoredToken] - total, output.Results[row].Logprob, 1e-4);
            Assert.Equal(logits[row].OrderDescending().Take(3).Select(x => (float)(x - total)), output.Results[row].Top.Select(score => score.Logprob), (a, b) => Math.Abs(a - b) < 1e-4);
        }
    }

    [Fact]
    public async Task A_spec_that_does_not_fit_the_model_is_refused_by_name()
    {
        ShardSpec good = LoadedShard.Spec(Folder("llama"));
        (string Field, ShardSpec Spec)[] bad =
        [
            ("MaxModelLength", good with { MaxModelLength = 513 }),
            ("MaxModelLength", good with { MaxModelLength = 0 }),
            ("MaxBatchedTokens", good with { MaxBatchedTokens = 0 }),
            ("MaxSequences", good with { MaxSequences = 513 }),
            ("BlockSize", good with { BlockSize = 0 }),
            ("KvCacheBytes", good with { KvCacheBytes = 100 }),
            ("KvCacheBytes", good with { KvCacheBytes = -1 }),
            ("TensorParallel.Size", good with { TensorParallel = (0, 7) }),
            ("TensorParallel.Size", good with { TensorParallel = (0, 0) }),
            ("TensorParallel.Rank", good with { TensorParallel = (2, 2) }),
            ("TensorParallel.Rank", good with { TensorParallel = (-1, 2) }),
            ("Pipeline.Size", good with { Pipeline = (0, 4) }),
            ("Pipeline.Stage", good with { Pipeline = (2, 2) }),
        ];
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        foreach ((string field, ShardSpec spec) in bad)
            Assert.Equal(field, (await Assert.ThrowsAsync<ShardSpecException>(() => ShardEngine.LoadAsync(spec, device))).Field);
    }

    [Fact]
    public async Task More_memory_than_the_machine_has_is_refused_before_it_is_touched()
    {
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        ShardSpec spec = LoadedShard.Spec(Folder("llama")) with { KvCacheBytes = 1L << 42, BlockSize = 4096 };
        DeviceMemoryException error = await Assert.ThrowsAsync<DeviceMemoryException>(() => ShardEngine.LoadAsync(spec, device));
        Assert.True(error.Needed > error.Available);
    }

    [Fact]
    public async Task A_checkpoint_without_a_tensor_is_refused_and_the_device_goes_on()
    {
        using var folder = new TemporaryFolder();
        foreach (string file in Directory.EnumerateFiles(Folder("llama")))
            File.Copy(file, folder.File(Path.GetFileName(file)));
        string config = File.ReadAllText(folder.File("config.json"));
        File.WriteAllText(folder.File("config.json"), config.Replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4"));
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        CheckpointFormatException missing = await Assert.ThrowsAsync<CheckpointFormatException>(() => ShardEngine.LoadAsync(LoadedShard.Spec(folder.Path), device));
        Assert.Equal("tensor model.layers.3.input_layernorm.weight", missing.Field);
        File.WriteAllText(folder.File("config.json"), config.Replace("\"intermediate_size\": 140", "\"intermediate_size\": 141"));
        CheckpointFormatException shape = await Assert.ThrowsAsync<CheckpointFormatException>(() => ShardEngine.LoadAsync(LoadedShard.Spec(folder.Path), device));
        Assert.Equal(("tensor model.layers.0.mlp.gate_proj.weight: shape", "[141, 72]", "[140, 72]"), (shape.Field, shape.Limit, shape.Actual));
        await using ShardEngine engine = await ShardEngine.LoadAsync(LoadedShard.Spec(Folder("llama")), device);
        Assert.Equal(2, (await engine.ExecuteAsync(Good())).Results.Length);
    }

    [Fact]
    public async Task Weights_that_give_no_number_fail_the_step_with_a_typed_error()
    {
        using var folder = new TemporaryFolder();
        foreach (string file in Directory.EnumerateFiles(Folder("llama")))
            File.Copy(file, folder.File(Path.GetFileName(file)));
        byte[] weights = File.ReadAllBytes(folder.File("model.safetensors"));
        weights.AsSpan(^(4 * 72)..).Fill(0xFF);      // NaN in the last rows of the data
        File.WriteAllBytes(folder.File("model.safetensors"), weights);
        await using LoadedShard shard = await LoadedShard.OpenAsync(folder.Path);
        await Assert.ThrowsAsync<NonFiniteLogitException>(() => shard.Engine.ExecuteAsync(Good()));
    }

    [Fact]
    public async Task A_disposed_shard_refuses_steps_and_a_cancelled_load_leaves_nothing()
    {
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        await Assert.ThrowsAsync<OperationCanceledException>(() => ShardEngine.LoadAsync(LoadedShard.Spec(Folder("llama")), device, new CancellationToken(canceled: true)));
        ShardEngine engine = await ShardEngine.LoadAsync(LoadedShard.Spec(Folder("llama")), device);
        await engine.DisposeAsync();
        await engine.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => engine.ExecuteAsync(Good()));
    }

    private static IEnumerable<(string Field, ForwardBatch Batch)> BadBatches() =>
    [
        ("Rows", Change(rows: 0)),
        ("Rows", Change(rows: 513)),
        ("Sequences", Change(sequences: 0)),
        ("Sequences", Change(sequences: 17)),
        ("TokenIds.Length", Change(rows: 4)),
        ("TokenIds[1]", Change(batch => batch.TokenIds[1] = 307)),
        ("TokenIds[2]", Change(batch => batch.TokenIds[2] = -1)),
        ("Positions[1]", Change(batch => batch.Positions[1] = 2)),
        ("Positions[0]", Change(batch => batch.Positions[0] = -1)),
        ("SlotMapping[2]", Change(batch => batch.SlotMapping[2] = int.MaxValue)),
        ("RowStarts[1]", Change(batch => batch.RowStarts[1] = 0)),
        ("RowStarts[2]", Change(batch => batch.RowStarts[2] = 4)),
        ("RowStarts[1]", Change(batch => batch.RowStarts[1] = batch.ContextLengths[0] = 3)),
        ("RowStarts[0]", Change(batch => batch.RowStarts[0] = -1)),
        ("ContextLengths[0]", Change(batch => batch.ContextLengths[0] = 257)),
        ("ContextLengths[0]", Change(batch => batch.ContextLengths[0] = 1)),
        ("BlockTable[1]", Change(batch => batch.BlockTable[1] = 1_000_000)),
        ("BlockTable[0]", Change(batch => batch.BlockTable[0] = -1)),
        ("BlockStarts[2]", Change(batch => batch.BlockStarts[2] = 3)),
        ("BlockStarts[1]", Change(batch => batch.BlockStarts[1] = 0)),
        ("BlockStarts[0]", Change(batch => batch.BlockStarts[0] = 1)),
        ("LogitRows[0]", Change(batch => batch.LogitRows[0] = 3)),
        ("Logits[1].ScoredToken", Change(batch => batch.Logits[1] = new LogitRequest(null, 307, 0))),
        ("Logits[0].TopLogprobs", Change(batch => batch.Logits[0] = new LogitRequest(null, 1, 308))),
    ];

    private static IEnumerable<(string Field, SamplingState State)> BadStates()
    {
        SamplingState good = TestSequence.Greedy.Sampling!;
        const string Prefix = "Logits[1].Sampling.";
        return
        [
            ($"{Prefix}Parameters.Temperature", good with { Parameters = new SamplingParameters { Temperature = float.NaN } }),
            ($"{Prefix}Parameters.Temperature", good with { Parameters = new SamplingParameters { Temperature = -1 } }),
            ($"{Prefix}Parameters.TopP", good with { Parameters = new SamplingParameters { TopP = 0 } }),
            ($"{Prefix}Parameters.TopP", good with { Parameters = new SamplingParameters { TopP = float.PositiveInfinity } }),
            ($"{Prefix}Parameters.MinP", good with { Parameters = new SamplingParameters { MinP = 1.5f } }),
            ($"{Prefix}Parameters.RepetitionPenalty", good with { Parameters = new SamplingParameters { RepetitionPenalty = 0 } }),
            ($"{Prefix}Parameters.LogitBias", good with { Parameters = new SamplingParameters { LogitBias = new Dictionary<int, float> { [307] = 1 } } }),
            ($"{Prefix}Parameters.LogitBias[3]", good with { Parameters = new SamplingParameters { LogitBias = new Dictionary<int, float> { [3] = float.NaN } } }),
            ($"{Prefix}BannedTokens", good with { BannedTokens = [307] }),
            ($"{Prefix}PromptLength", good with { PromptLength = 1 }),
            ($"{Prefix}Tokens", good with { Tokens = new[] { 1, 307 }, Parameters = new SamplingParameters { PresencePenalty = 1 } }),
        ];
    }

    private static ForwardBatch Change(Action<ForwardBatch> change)
    {
        ForwardBatch batch = Good();
        change(batch);
        return batch;
    }

    private static ForwardBatch Change(int rows = 3, int sequences = 2)
    {
        ForwardBatch good = Good();
        return new ForwardBatch
        {
            Rows = rows,
            Sequences = sequences,
            TokenIds = good.TokenIds,
            Positions = good.Positions,
            SlotMapping = good.SlotMapping,
            RowStarts = good.RowStarts,
            ContextLengths = good.ContextLengths,
            BlockTable = good.BlockTable,
            BlockStarts = good.BlockStarts,
            LogitRows = good.LogitRows,
            Logits = good.Logits,
        };
    }
}
