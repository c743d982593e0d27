using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Conformance;

/// <summary>
/// Greedy tokens of every supported architecture through the whole product (HTTP, session, replica, shard, kernels)
/// equal the reference implementation's, however the work is cut: whole prefill, chunks, batches, preemption, prefix hits.
/// </summary>
public sealed class ConformanceOverHttpTests
{
    private const int ExpectedTokens = 24;

    [Fact]
    public async Task EveryArchitecture_WholePrefill_AndPrefixCacheHits()
    {
        using SiloProcess silo = await LaunchAllAsync("--max-num-batched-tokens", "512");
        foreach (string name in ConformanceCheckpoint.Names)
        {
            using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
            foreach (ExpectedPrompt prompt in checkpoint.Expected.Prompts)
                await AssertGreedyAsync(silo, name, prompt);

            ExpectedPrompt longest = checkpoint.Prompt("p130");
            (_, JsonNode again) = await silo.PostAsync("/v1/completions", Completions.Greedy(name, longest.Ids, ExpectedTokens));
            Assert.InRange((int)again["usage"]!["prompt_tokens_details"]!["cached_tokens"]!, 112, 129);
            Assert.Equal(longest.Greedy, again["choices"]![0]!["token_ids"]!.AsArray().Select(id => (int)id!));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(50)]
    public async Task EveryArchitecture_ChunkedPrefillInOneBatch(int tokenBudget)
    {
        using SiloProcess silo = await LaunchAllAsync("--max-num-batched-tokens", $"{tokenBudget}", "--max-num-seqs", "16");
        await Task.WhenAll(ConformanceCheckpoint.Names.Select(name => AssertAllPromptsTogetherAsync(silo, name)));
    }

    [Fact]
    public async Task EveryArchitecture_WithPreemptionByRecompute()
    {
        // The smallest cache that holds one sequence of the longest prompt: the others are preempted again and again.
        using SiloProcess silo = await LaunchAllAsync("--max-num-batched-tokens", "64", "--max-model-len", "160", "--kv-cache-memory-bytes", "256KiB");
        await Task.WhenAll(ConformanceCheckpoint.Names.Select(name => AssertAllPromptsTogetherAsync(silo, name, copies: 3)));
        Assert.True(await silo.MetricAsync("vllm:num_preemptions_total") > 0, await PageAsync(silo));
    }

    [Fact]
    public async Task NewConfigSpelling_GivesTheSameTokens()
    {
        using var folder = new TemporaryFolder();
        foreach (string name in ConformanceCheckpoint.Names)
        {
            using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
            checkpoint.CopyWithNewConfig(folder.File(name));
        }
        using SiloProcess silo = await Silos.LaunchAsync([.. ConformanceCheckpoint.Names.SelectMany(name => new[] { "--model", folder.File(name) }), "--kv-cache-memory-bytes", "4MiB"]);
        foreach (string name in ConformanceCheckpoint.Names)
            await AssertAllPromptsTogetherAsync(silo, name);
    }

    private static Task<SiloProcess> LaunchAllAsync(params string[] flags)
    {
        string[] memory = flags.Contains("--kv-cache-memory-bytes") ? [] : ["--kv-cache-memory-bytes", "4MiB"];
        return Silos.LaunchAsync([.. ConformanceCheckpoint.Names.SelectMany(name => new[] { "--model", SharedData.InRepository("tests", "Checkpoints", name) }), .. memory, .. flags]);
    }

    private static async Task AssertAllPromptsTogetherAsync(SiloProcess silo, string name, int copies = 1)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await Task.WhenAll(Enumerable.Range(0, copies).SelectMany(_ => checkpoint.Expected.Prompts).Select(prompt => AssertGreedyAsync(silo, name, prompt)));
    }

    private static async Task AssertGreedyAsync(SiloProcess silo, string model, ExpectedPrompt prompt)
    {
        int[][] tokens = await Completions.TokensAsync(silo, Completions.Greedy(model, prompt.Ids, ExpectedTokens));
        Assert.True(prompt.Greedy.AsSpan().SequenceEqual(tokens[0]), $"{model} {prompt.Id}: expected {string.Join(' ', prompt.Greedy)}, got {string.Join(' ', tokens[0])}");
    }

    private static async Task<string> PageAsync(SiloProcess silo) => (await silo.GetAsync("/metrics")).Text;
}
