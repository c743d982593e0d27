using System.Globalization;
using System.Text.Json.Nodes;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Serving;

/// <summary>
/// Memory that a model takes beside its weights and keys: a model of 240 M parameters, so that a second copy of anything would show.
/// </summary>
public sealed class MemoryTests(MemoryTests.Model model) : IClassFixture<MemoryTests.Model>
{
    private const long Megabyte = 1 << 20;
    private const long HugePage = 2 * Megabyte;
    private const int Layers = 8;
    private const int BlockSize = 16;

    // Keys and values of 4 heads of 32 elements, fp32.
    private const long TokenBytes = 2L * Layers * 4 * 32 * sizeof(float);

    [Fact]
    public async Task SiloOfTwoDevices_TakesWeightsUsedKeysAnd250MB()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "other systems count mapped files otherwise");
        const int Replicas = 2, Prompt = 200, Answer = 20;
        using SiloProcess silo = await Silos.LaunchAsync(
            "--model", model.Checkpoint.Path, "--served-model-name", "wide", "--devices", "cpu:0/1,cpu:1/1", "--kv-cache-memory-bytes", "1GiB");
        int[] prompt = [.. Enumerable.Range(3, Prompt)];
        // One per replica at least: all of them compute.
        JsonNode[] answers = await Task.WhenAll(Enumerable.Range(0, 2 * Replicas).Select(i => Ask(silo, prompt, Answer)));
        Assert.All(answers, answer => Assert.Equal(Answer, answer["usage"]!["completion_tokens"]!.GetValue<int>()));
        Within(silo.Process.ResidentBytes, model.Checkpoint.WeightBytes + UsedKeys(answers.Length * (Prompt + Answer), Replicas), 250 * Megabyte);
    }

    [Fact]
    public async Task Kernels_TakeWeightsUsedKeysAnd60MB()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "other systems count mapped files otherwise");
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), threads: 2);
        long before = Environment.WorkingSet;
        await using ShardEngine engine = await ShardEngine.LoadAsync(new ShardSpec
        {
            ModelFolder = model.Checkpoint.Path,
            Device = device.Device,
            MaxModelLength = 1024,
            MaxBatchedTokens = 512,
            MaxSequences = 16,
            KvCacheBytes = 1024 * Megabyte,
        }, device, TestContext.Current.CancellationToken);
        const int Rows = 300;
        var sequence = new TestSequence(Enumerable.Range(3, Rows), [.. Enumerable.Range(0, (Rows + BlockSize - 1) / BlockSize)]);
        ForwardOutput output = await engine.ExecuteAsync(TestSequence.Batch(BlockSize, [(sequence, Rows)], new LogitRequest(null, ScoredToken: 5, TopLogprobs: 0)));
        Assert.InRange(Assert.Single(output.Results).Logprob, -50f, 0f);
        Within(Environment.WorkingSet - before, model.Checkpoint.WeightBytes + UsedKeys(Rows, replicas: 1), 60 * Megabyte);
    }

    // Every layer has a stretch of its own, in huge pages.
    private static long UsedKeys(int tokens, int replicas) => ((long)(tokens + BlockSize) * TokenBytes) + (replicas * Layers * HugePage);

    private static void Within(long resident, long needed, long allowance)
    {
        Assert.True(resident <= needed + allowance, string.Create(CultureInfo.InvariantCulture,
            $"{resident / (double)Megabyte:0.0} MB are resident; weights and keys in use are {needed / (double)Megabyte:0.0} MB, and {allowance / Megabyte} MB more are allowed."));
        // The weights are in memory of its own: a test that measured something else would pass always.
        Assert.True(resident > needed / 2, $"{resident} bytes are resident, less than the weights.");
    }

    private static async Task<JsonNode> Ask(SiloProcess silo, int[] prompt, int tokens)
    {
        var request = new JsonObject
        {
            ["model"] = "wide", ["prompt"] = new JsonArray([.. prompt.Select(token => JsonValue.Create(token))]),
            ["max_tokens"] = tokens, ["min_tokens"] = tokens, ["temperature"] = 0,
        };
        (System.Net.HttpStatusCode status, JsonNode body) = await silo.PostAsync("/v1/completions", request);
        Assert.Equal(System.Net.HttpStatusCode.OK, status);
        return body;
    }

    /// <summary>The widened model, made once.</summary>
    public sealed class Model : IDisposable
    {
        /// <summary>Its files.</summary>
        public WideCheckpoint Checkpoint { get; } = new(hidden: 1536, intermediate: 6144, layers: Layers);

        /// <inheritdoc/>
        public void Dispose() => Checkpoint.Dispose();
    }
}
