using Cluster.Kernels.Collectives;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Sampling;
using Cluster.Kernels.Tests.Models;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Execution;

/// <summary>Shards of one replica together: failures, epochs, steps in flight, bytes and allocations.</summary>
public sealed class ReplicaTests
{
    private static string Folder(string name) => SharedData.InRepository("tests", "Checkpoints", name);

    [Theory]
    [InlineData(2, 1, 1)]
    [InlineData(3, 1, 0)]
    [InlineData(1, 2, 0)]
    [InlineData(2, 2, 2)]
    public async Task A_failing_rank_fails_the_step_on_all_that_wait_for_it_and_a_new_epoch_goes_on(int tensor, int stages, int failing)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open("llama");
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(checkpoint.Folder, tensor, stages);
        ExpectedPrompt prompt = checkpoint.Prompt("p7");
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence(prompt.Ids, LoadedShard.Blocks(20)), prompt.Ids.Length)], TestSequence.Greedy);
        // A plan that is none fails inside the step, on the device's thread.
        Task<ForwardOutput>[] steps = [.. replica.Engines.Select((engine, rank) => rank == failing ? engine.ExecuteAsync(batch, null!) : engine.ExecuteAsync(batch))];
        await Assert.ThrowsAsync<NullReferenceException>(() => steps[failing]);
        ProcessGroupException failure = await Assert.ThrowsAsync<ProcessGroupException>(() => steps[(stages - 1) * tensor == failing ? replica.Engines.Count - 1 : (stages - 1) * tensor]);
        Assert.Equal((ProcessGroupFault.Aborted, failing), (failure.Cause, failure.Peer));
        foreach (ShardEngine engine in replica.Engines)
            await Assert.ThrowsAsync<ProcessGroupException>(() => engine.ExecuteAsync(batch));
        replica.Rejoin();
        Assert.Equal(prompt.Greedy[0], (await replica.ExecuteAsync(batch)).Results[0].Token);
    }

    [Fact]
    public async Task A_closed_group_ends_the_steps_that_wait_for_a_lost_rank()
    {
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(Folder("llama"), 2, 2);
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence([1, 2, 3], LoadedShard.Blocks(4)), 3)], TestSequence.Greedy);
        // Rank 3 never comes.
        Task<ForwardOutput>[] steps = [.. replica.Engines.Take(3).Select(engine => engine.ExecuteAsync(batch))];
        replica.Groups[3].Abort("lost");
        Assert.Contains("lost", (await Assert.ThrowsAsync<ProcessGroupException>(() => steps[2])).Reason);
        await Assert.ThrowsAsync<ProcessGroupException>(() => replica.ExecuteAsync(batch));
    }

    [Theory]
    [InlineData(2, 1)]
    [InlineData(1, 2)]
    public async Task Shards_that_are_given_steps_in_different_orders_fail_instead_of_mixing_them(int tensor, int stages)
    {
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(Folder("llama"), tensor, stages);
        ForwardBatch One(int token) => TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence([token], LoadedShard.Blocks(4)), 1)], TestSequence.Greedy);
        Task<ForwardOutput> first = replica.Engines[0].ExecuteAsync(One(3)), second = replica.Engines[1].ExecuteAsync(One(4));
        Exception failure = await Assert.ThrowsAnyAsync<Exception>(() => Task.WhenAll(second, first));
        Assert.Contains("different steps", failure.Message);
        Assert.NotNull(replica.Groups[0].Failure);
    }

    [Fact]
    public async Task A_shard_of_several_runs_no_step_without_its_group()
    {
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(Folder("llama"), 2, 1);
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence([1], LoadedShard.Blocks(4)), 1)], TestSequence.Greedy);
        Assert.Equal("Group.Rank", Assert.Throws<ShardSpecException>(() => replica.Engines[0].Join(replica.Groups[1])).Field);
        Assert.Equal("Group.Size", Assert.Throws<ShardSpecException>(() => replica.Engines[0].Join(ProcessGroups.CreateLocal(3, 1, ProcessGroupOptions.Default)[0])).Field);
        replica.Engines[0].Join(null);
        await Assert.ThrowsAsync<InvalidOperationException>(() => replica.Engines[0].ExecuteAsync(batch));
    }

    /// <summary>Two micro-batches in flight, each step of one needing the token of its last: stages work at the same time.</summary>
    [Theory]
    [InlineData(1, 2)]
    [InlineData(1, 3)]
    [InlineData(2, 2)]
    public async Task Steps_in_flight_follow_each_other_through_the_stages(int tensor, int stages)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open("qwen3_moe");
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(checkpoint.Folder, tensor, stages);
        string[] prompts = ["p7", "p33", "p1"];
        int[][] continuations = await Task.WhenAll(prompts.Select(async (id, i) =>
        {
            ExpectedPrompt prompt = checkpoint.Prompt(id);
            var sequence = new TestSequence(prompt.Ids, LoadedShard.Blocks(60, first: 20 * i));
            // All pieces of the prompt are in flight at once.
            Task<ForwardOutput> last = Task.FromResult(ForwardOutput.Empty);
            while (sequence.Computed < prompt.Ids.Length)
                last = replica.ExecuteAsync(TestSequence.Batch(LoadedShard.BlockSize, [(sequence, Math.Min(3, prompt.Ids.Length - sequence.Computed))], TestSequence.Greedy));
            sequence.Tokens.Add((await last).Results[0].Token);
            while (sequence.Tokens.Count < prompt.Ids.Length + 10)
                sequence.Tokens.Add((await replica.ExecuteAsync(TestSequence.Batch(LoadedShard.BlockSize, [(sequence, 1)], TestSequence.Greedy))).Results[0].Token);
            return sequence.Tokens.Skip(prompt.Ids.Length).ToArray();
        }));
        for (int i = 0; i < prompts.Length; i++)
            Assert.Equal(checkpoint.Prompt(prompts[i]).Greedy[..10], continuations[i]);
    }

    [Theory]
    [InlineData("llama", 2, 1)]
    [InlineData("llama", 3, 2)]
    [InlineData("qwen2_moe", 4, 1)]
    [InlineData("qwen3_moe", 2, 3)]
    public async Task A_step_moves_as_many_bytes_as_the_formula_says(string name, int tensor, int stages)
    {
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(Folder(name), tensor, stages);
        ModelConfig config = replica.Last.Config;
        int[] ids = [.. Enumerable.Range(1, 9)];
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence(ids, LoadedShard.Blocks(9)), 9)], TestSequence.Greedy, everyRow: true);
        for (int i = 0; i < 4; i++)
            batch.Logits[i] = new LogitRequest(null, 3, 2);
        await replica.ExecuteAsync(batch);
        const int Steps = 3;
        long[] before = [.. Enumerable.Range(0, 8).Select(tag => Sent(replica, tag))];
        for (int step = 0; step < Steps; step++)
            await replica.ExecuteAsync(batch);
        long[] sent = [.. Enumerable.Range(0, 8).Select(tag => (Sent(replica, tag) - before[tag]) / Steps)];

        // An all-reduce hands every value to its summing rank and the sum back: 2 (T - 1) times the data over all ranks.
        long state = 4L * batch.Rows * config.HiddenSize, reduced = 2 * (tensor - 1) * state;
        int expertLayers = config.Layers.Count(layer => layer.HasExperts);
        int summed = config.Experts is { } experts ? experts.PerToken + (experts.SharedIntermediateSize > 0 ? 1 : 0) : 0;
        int others = config.VocabularySize - TensorPartition.VocabularyOf(config, 0, tensor).Count;
        Assert.Equal(config.Layers.Count * reduced, sent[ShardTraffic.AttentionSum]);
        Assert.Equal((config.Layers.Count - expertLayers) * reduced, sent[ShardTraffic.MlpSum]);
        Assert.Equal(expertLayers * summed * reduced, sent[ShardTraffic.ExpertSum]);
        Assert.Equal((stages - 1) * tensor * state, sent[ShardTraffic.Hidden]);
        Assert.Equal(24L * (tensor - 1) * 5, sent[ShardTraffic.Best]);
        Assert.Equal(4L * others * 4, sent[ShardTraffic.Logits]);
        Assert.Equal(8L * tensor * ((stages * (tensor - 1)) + stages - 1), sent[ShardTraffic.StepDigest]);
    }

    [Fact]
    public async Task A_logit_that_is_no_number_is_named_whoever_holds_it_and_the_ranks_stay_together()
    {
        using var folder = new TemporaryFolder();
        CheckpointCopy.WithWeights("llama", folder.Path, (tensor, values) =>
        {
            if (tensor == "lm_head.weight")
                values[^5] = float.NaN;
            return ("F32", System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values).ToArray());
        });
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(folder.Path, 2, 1);
        foreach (LogitRequest request in (LogitRequest[])[TestSequence.Greedy, new LogitRequest(null, 1, 1), TestSequence.Greedy])
        {
            ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence(Enumerable.Range(0, 90), LoadedShard.Blocks(90)), 90)], request, everyRow: true);
            NonFiniteLogitException error = await Assert.ThrowsAsync<NonFiniteLogitException>(() => replica.ExecuteAsync(batch));
            Assert.Equal(replica.Last.Config.VocabularySize - 1, error.Token);
            Assert.Null(replica.Groups[0].Failure);
        }
    }

    [Theory]
    [InlineData("llama", 2, 1)]
    [InlineData("llama", 2, 2)]
    [InlineData("qwen2_moe", 3, 1)]
    public async Task Steps_allocate_nothing_but_their_results(string name, int tensor, int stages)
    {
        await using LoadedReplica replica = await LoadedReplica.OpenAsync(Folder(name), tensor, stages);
        LogitRequest[] requests = [TestSequence.Greedy, new(TestSequence.Greedy.Sampling! with { Parameters = new SamplingParameters { Temperature = 0.8f, TopK = 9 } }, -1, -1)];
        ForwardBatch[] steps = [.. Enumerable.Range(0, 20).Select(i => TestSequence.Batch(
            LoadedShard.BlockSize, [(new TestSequence(Enumerable.Range(0, 30), LoadedShard.Blocks(30)) { Computed = 29 }, 1)], requests[i % 2]))];
        // Else the first stage runs ahead, into the group's bounded buffer.
        using var together = new Barrier(tensor * stages);
        long[] bytes = await Task.WhenAll(Enumerable.Range(0, tensor * stages).Select(rank => replica.OnDeviceAsync(rank, ops => Allocated(ops, replica.Engines[rank], steps, together))));
        long before = GC.GetAllocatedBytesForCurrentThread();
        var output = new ForwardOutput([new LogitResult(0, float.NaN, [])]);
        long results = steps.Length * (GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.NotEmpty(output.Results);
        for (int rank = 0; rank < bytes.Length; rank++)
            Assert.True((rank == (stages - 1) * tensor ? results : 0) == bytes[rank], $"{string.Join(", ", bytes)} of {results}");
    }

    private static long Allocated(IDeviceOps ops, ShardEngine engine, ForwardBatch[] steps, Barrier together)
    {
        void Run()
        {
            foreach (ForwardBatch step in steps)
            {
                engine.Execute(ops, step, ExecutionPlan.Exact, engine.Ranks);
                together.SignalAndWait();
            }
        }

        Run();
        long least = long.MaxValue;
        // A collection that another test causes counts the rest of this thread's buffer: the least round is the steps' own.
        for (int round = 0; round < 10; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            Run();
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        return least;
    }

    // Tensor ranks of several stages have groups of their own.
    private static long Sent(LoadedReplica replica, int tag) => replica.Engines.Select((engine, rank) =>
    {
        CommunicationLedger whole = replica.Groups[rank].Ledger, tensor = engine.Ranks!.Tensor?.Ledger ?? whole;
        return whole[tag].BytesSent + (tensor == whole ? 0 : tensor[tag].BytesSent);
    }).Sum();
}
