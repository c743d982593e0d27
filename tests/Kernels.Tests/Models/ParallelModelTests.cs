using System.Net;
using Cluster.Kernels.Collectives;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Sampling;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Tensor and pipeline parallel replicas against one shard: same tokens in every layout, same bits where splits align.</summary>
public sealed class ParallelModelTests : IDisposable
{
    private const int Continuation = 12;

    // Of the residual stream, relative. Activations are rounded to 8 bits before quantised weights: a last bit may turn a step of that.
    private const float Rounding = 1e-5f, QuantizedRounding = 0.05f;

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, int, int> Layouts
    {
        get
        {
            var data = new TheoryData<string, int, int>();
            foreach (string name in ConformanceCheckpoint.Names)
            {
                foreach (int tensor in (int[])[1, 2, 3, 4])
                {
                    foreach (int stages in (int[])[1, 2, 3])
                    {
                        if (tensor * stages > 1)
                            data.Add(name, tensor, stages);
                    }
                }
            }
            return data;
        }
    }

    public void Dispose() => _folder.Dispose();

    /// <summary>A prompt in chunks beside a sequence that decodes already.</summary>
    [Theory]
    [MemberData(nameof(Layouts))]
    public async Task Greedy_tokens_equal_the_reference(string name, int tensor, int stages)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(checkpoint.Folder, tensor, stages);
        ExpectedPrompt first = checkpoint.Prompt("p7"), second = checkpoint.Prompt("p33");
        var decoding = new TestSequence(first.Ids, LoadedShard.Blocks(80));
        var prefilling = new TestSequence(second.Ids, LoadedShard.Blocks(80, first: 20));
        await replica.StepAsync((decoding, first.Ids.Length));
        while (prefilling.Tokens.Count < second.Ids.Length + Continuation)
            await replica.StepAsync((decoding, 1), (prefilling, Math.Min(9, prefilling.Tokens.Count - prefilling.Computed)));
        Assert.Equal(first.Greedy[..Continuation], decoding.Tokens[first.Ids.Length..][..Continuation]);
        Assert.Equal(second.Greedy[..Continuation], prefilling.Tokens[second.Ids.Length..]);
    }

    /// <summary>Two processes, as the mesh sees it: ranks are dealt to them in turn, so that tensor ranks or stages meet over sockets, or both.</summary>
    [Theory]
    [InlineData("demo", 2, 1)]
    [InlineData("experts", 2, 2)]
    [InlineData("biased", 4, 1)]
    [InlineData("llama", 1, 3)]
    public async Task Replicas_over_sockets_give_the_same_bits(string name, int tensor, int stages)
    {
        string folder = Folder(name);
        using TcpMesh first = Listen(), second = Listen();
        await using LoadedShard shard = await LoadedShard.OpenAsync(folder);
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(folder, tensor, stages);
        TcpMesh[] meshes = [.. replica.Engines.Select((_, rank) => rank % 2 == 0 ? first : second)];
        var spec = new TcpGroupSpec("replica", 7, new byte[16], [.. meshes.Select(mesh => mesh.EndPoint)]);
        replica.Join(await Task.WhenAll(meshes.Select((mesh, rank) => mesh.JoinAsync(spec, rank, TestContext.Current.CancellationToken))));
        await CompareAsync(shard, replica, tolerance: 0);
    }

    private static TcpMesh Listen() => TcpMesh.Listen(new IPEndPoint(IPAddress.Loopback, 0), TcpMeshOptions.Default with { HeartbeatTimeout = TimeSpan.FromSeconds(20) });

    public static TheoryData<string, int, int> Comparisons => new()
    {
        { "demo", 2, 1 }, { "demo", 4, 1 }, { "demo", 8, 1 }, { "demo", 4, 2 }, { "demo", 1, 4 }, { "demo", 3, 1 }, { "demo", 5, 1 }, { "demo", 7, 1 },
        { "biased", 2, 1 }, { "biased", 4, 2 }, { "biased", 8, 1 }, { "biased", 3, 1 },
        { "experts", 2, 1 }, { "experts", 4, 1 }, { "experts", 8, 1 }, { "experts", 2, 2 }, { "experts", 3, 1 },
        { "llama", 2, 1 }, { "llama_bf16", 2, 3 }, { "llama_tied", 2, 2 }, { "mistral", 2, 1 }, { "qwen2", 2, 1 }, { "qwen2_moe", 2, 2 }, { "qwen3", 2, 1 }, { "qwen3_moe", 2, 1 },
        { "llama31", 4, 1 }, { "qwen2_moe", 4, 1 },
    };

    /// <summary>Log-probabilities, best tokens, residual stream, drawn tokens with every kind of request, in ragged steps.</summary>
    [Theory]
    [MemberData(nameof(Comparisons))]
    public async Task Results_equal_those_of_one_shard_bit_by_bit_where_splits_align(string name, int tensor, int stages)
    {
        string folder = Folder(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(folder);
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(folder, tensor, stages);
        bool aligned = replica.Engines[0].IsAligned;
        Assert.Equal(tensor is 1 or 2 or 4 or 8 && name is not ("llama31" or "qwen2_moe") || (name, tensor) == ("qwen2_moe", 2), aligned);
        await CompareAsync(shard, replica, aligned ? 0 : Rounding);
    }

    [Theory]
    [InlineData(WeightQuantization.Int8, 2, true)]
    [InlineData(WeightQuantization.Int4, 2, true)]
    [InlineData(WeightQuantization.Int8, 8, false)]
    [InlineData(WeightQuantization.Int4, 3, false)]
    public async Task Quantised_weights_are_cut_between_groups(WeightQuantization quantization, int tensor, bool aligned)
    {
        ShardSpec spec = LoadedShard.Spec(Folder("demo")) with { Quantization = quantization };
        await using LoadedShard shard = await LoadedShard.OpenAsync(spec.ModelFolder, quantization: quantization);
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(spec, tensor, 1);
        Assert.Equal(aligned, replica.Engines[0].IsAligned);
        await CompareAsync(shard, replica, aligned ? 0 : QuantizedRounding);
    }

    [Theory]
    [InlineData("llama", "F32", 2, true)]
    [InlineData("llama", "F16", 3, false)]
    [InlineData("demo", "Q8_0", 2, true)]
    [InlineData("demo", "Q4_0", 2, true)]
    [InlineData("demo", "Q8_0", 3, false)]
    [InlineData("experts", "F32", 4, true)]
    public async Task Gguf_files_are_cut_like_folders(string name, string type, int tensor, bool aligned)
    {
        string file = _folder.File("model.gguf");
        GgufExports.Write(Folder(name), file, type);
        await using LoadedShard shard = await LoadedShard.OpenAsync(file);
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(file, tensor, 1);
        Assert.Equal(aligned, replica.Engines[0].IsAligned);
        await CompareAsync(shard, replica, aligned ? 0 : type.StartsWith('Q') ? QuantizedRounding : Rounding);
    }

    [Theory]
    [InlineData(DType.BFloat16)]
    [InlineData(DType.Int8)]
    public async Task Narrow_keys_and_values_give_the_bits_of_one_shard(DType kvType)
    {
        await using LoadedShard shard = await LoadedShard.OpenAsync(Folder("demo"), kvType: kvType);
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(LoadedShard.Spec(Folder("demo")) with { KvType = kvType }, 2, 2);
        await CompareAsync(shard, replica, tolerance: 0);
    }

    private static async Task CompareAsync(LoadedShard shard, LoadedReplica replica, float tolerance)
    {
        var random = new Random(3);
        int vocabulary = shard.Engine.Config.VocabularySize;
        int[][] prompts = [.. ((int[])[1, 21, 75]).Select(length => Enumerable.Range(0, length).Select(_ => random.Next(vocabulary)).ToArray())];
        TestSequence[] own = Sequences(prompts), theirs = Sequences(prompts);
        for (int step = 0; own.Any(sequence => sequence.Computed < sequence.Tokens.Count); step++)
        {
            int[] rows = [.. own.Select(sequence => Math.Min(sequence.Tokens.Count - sequence.Computed, 1 + random.Next(30)))];
            ForwardBatch batch = Batch(own, rows, step), again = Batch(theirs, rows, step);
            ForwardOutput expected = await shard.Engine.ExecuteAsync(batch), actual = await replica.ExecuteAsync(again);
            AssertSame(expected.Results, actual.Results, tolerance);
            float[][] hidden = await shard.OnDeviceAsync(ops => Enumerable.Range(0, batch.Rows).Select(row => ops.ReadRow(shard.Model.Workspace.Hidden, row).ToArray()).ToArray());
            for (int rank = (replica.Stages - 1) * replica.Tensor; rank < replica.Engines.Count; rank++)
                AssertHidden(hidden, await replica.HiddenAsync(rank, batch.Rows), tolerance);
        }
    }

    private static TestSequence[] Sequences(int[][] prompts) =>
        [.. prompts.Select((ids, i) => new TestSequence(ids, LoadedShard.Blocks(80, first: 20 * i)))];

    // Every row asks for something; what it is goes round.
    private static ForwardBatch Batch(TestSequence[] sequences, int[] rows, int step)
    {
        (TestSequence, int)[] parts = [.. sequences.Zip(rows).Where(part => part.Second > 0)];
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, parts, TestSequence.Greedy, everyRow: true);
        for (int i = 0; i < batch.Logits.Length; i++)
            batch.Logits[i] = Requests(i + step, batch.Positions[batch.LogitRows[i]]);
        return batch;
    }

    private static LogitRequest Requests(int kind, int position)
    {
        SamplingState State(SamplingParameters parameters, params int[] banned) => new()
        {
            Parameters = parameters, Seed = 77, Choice = kind % 3, Position = position, Tokens = (int[])[5, 9, 9, 11], PromptLength = 2, BannedTokens = banned,
        };
        return (kind % 9) switch
        {
            0 => TestSequence.Greedy,
            1 => new LogitRequest(State(new SamplingParameters()), -1, -1),
            2 => new LogitRequest(State(new SamplingParameters { Temperature = 0.7f }), -1, -1),
            3 => new LogitRequest(State(new SamplingParameters { Temperature = 0.8f, TopK = 20, TopP = 0.9f }), -1, 3),
            4 => new LogitRequest(null, 7, 5),
            5 => new LogitRequest(State(new SamplingParameters { Temperature = 0, RepetitionPenalty = 1.3f, FrequencyPenalty = 0.2f }), -1, -1),
            6 => new LogitRequest(State(new SamplingParameters { MinP = 0.05f }, 3, 4), -1, 0),
            7 => new LogitRequest(State(new SamplingParameters { Temperature = 0 }), -1, 2),
            _ => new LogitRequest(State(new SamplingParameters { Temperature = 1.4f }), -1, 1),
        };
    }

    private static void AssertSame(LogitResult[] expected, LogitResult[] actual, float tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (tolerance == 0)
            {
                Assert.Equal(expected[i].Token, actual[i].Token);
                Assert.Equal(BitConverter.SingleToInt32Bits(expected[i].Logprob), BitConverter.SingleToInt32Bits(actual[i].Logprob));
                Assert.Equal(expected[i].Top, actual[i].Top);
            }
            else if (!float.IsNaN(expected[i].Logprob) && expected[i].Token == actual[i].Token)
                Assert.Equal(expected[i].Logprob, actual[i].Logprob, 5 * tolerance);
        }
        // Rounding may turn a near tie, not more.
        Assert.True(expected.Zip(actual).Count(pair => pair.First.Token != pair.Second.Token) <= expected.Length / 20);
    }

    private static void AssertHidden(float[][] expected, float[][] actual, float tolerance)
    {
        if (tolerance == 0)
        {
            for (int row = 0; row < expected.Length; row++)
                Assert.True(expected[row].AsSpan().SequenceEqual(actual[row]), $"row {row}");
            return;
        }
        double error = expected.Zip(actual, (a, b) => a.Zip(b, (x, y) => (double)(x - y) * (x - y)).Sum()).Sum();
        double size = expected.Sum(row => row.Sum(x => (double)x * x));
        Assert.InRange(Math.Sqrt(error / size), double.Epsilon, tolerance);
    }

    private string Folder(string name)
    {
        if (name == "demo")
            return SharedData.InRepository("models", "cluster-demo");
        if (name is not ("biased" or "experts"))
            return SharedData.InRepository("tests", "Checkpoints", name);
        string folder = _folder.File(name);
        if (!Directory.Exists(folder))
            RandomCheckpoint.Write(Directory.CreateDirectory(folder).FullName, hasExperts: name == "experts");
        return folder;
    }
}
