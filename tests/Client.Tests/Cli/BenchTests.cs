using System.Text.Json.Nodes;
using Cluster.Cli.Bench;

namespace Cluster.Client.Tests.Cli;

/// <summary>The load generator: its statistics against values computed by hand, its schedules, its runs.</summary>
public sealed class BenchTests
{
    [Fact]
    public void Summary_IsNumpys()
    {
        Summary summary = Summary.Of([4, 1, 3, 2]);
        Assert.Equal(2.5, summary.Mean, 12);
        Assert.Equal(2.5, summary.Median, 12);
        Assert.Equal(Math.Sqrt(1.25), summary.Std, 12);
        Assert.Equal(3.7, summary.P90, 12);
        Assert.Equal(3.97, summary.P99, 12);
        Assert.Equal(default, Summary.Of([]));
        Assert.Equal(7, Summary.Of([7]).P99);
    }

    [Fact]
    public void Result_FollowsVllmsDefinitions()
    {
        RequestRecord[] records =
        [
            new() { Succeeded = true, Start = 0, Ttft = 0.1, Latency = 0.5, Itl = [0.1, 0.3], InputTokens = 10, OutputTokens = 3 },
            new() { Succeeded = true, Start = 0.2, Ttft = 0.2, Latency = 0.2, InputTokens = 20, OutputTokens = 1 },
            new() { Succeeded = false, Start = 0.1, Ttft = 9, Latency = 9, Itl = [9], InputTokens = 99, OutputTokens = 99, Error = "cut" },
        ];
        var result = BenchResult.Compute(records, 2, new GoodputTarget(150, 250, null));
        Assert.Equal((2, 1, 30L, 4L), (result.Completed, result.Failed, result.TotalInputTokens, result.TotalOutputTokens));
        Assert.Equal((1.0, 2.0, 17.0), (result.RequestThroughput, result.OutputThroughput, result.TotalTokenThroughput));
        Assert.Equal(0.5, result.RequestGoodput);
        Assert.Equal(150, result.Ttft.Mean, 9);
        // (0.5 - 0.1) / (3 - 1); an answer of one token has none.
        Assert.Equal(200, result.Tpot.Mean, 9);
        Assert.Equal((200, 100), (Math.Round(result.Itl.Mean, 9), Math.Round(result.Itl.Std, 9)));
        Assert.Equal(350, result.E2el.Median, 9);
        Assert.Equal(2, result.MaxConcurrentRequests);
        Assert.Null(BenchResult.Compute(records, 2, GoodputTarget.None).RequestGoodput);
    }

    [Fact]
    public void Goodput_IsParsed()
    {
        Assert.Equal(new GoodputTarget(200, 50, 5000), GoodputTarget.Parse(["ttft:200,tpot:50", "e2el:5000"]));
        Assert.Throws<ArgumentException>(() => GoodputTarget.Parse(["ttft"]));
        Assert.Throws<ArgumentException>(() => GoodputTarget.Parse(["speed:1"]));
        Assert.Throws<ArgumentException>(() => GoodputTarget.Parse(["ttft:-1"]));
        // A request of one token cannot miss a limit per further token.
        Assert.True(new GoodputTarget(null, 1, null).IsMetBy(new RequestRecord { Succeeded = true, Ttft = 1, Latency = 9, OutputTokens = 1 }));
    }

    [Theory]
    [InlineData(1.0, 0)]
    [InlineData(0.5, 1)]
    [InlineData(4.0, 2)]
    public void Arrivals_HaveTheMeanAndSpreadOfTheirGamma(double burstiness, int seed)
    {
        const double Rate = 8;
        const int Count = 40_000;
        double[] arrivals = ArrivalSchedule.For(Count, Rate, burstiness, seed);
        double[] intervals = [.. arrivals.Skip(1).Zip(arrivals, (later, earlier) => later - earlier)];
        double mean = intervals.Average();
        double variance = intervals.Average(interval => (interval - mean) * (interval - mean));
        // Gamma of shape b and mean 1/r: variance 1/(b r^2), excess kurtosis 6/b; four standard errors each.
        double expected = 1 / (burstiness * Rate * Rate);
        Assert.Equal(0, arrivals[0]);
        Assert.InRange(mean, (1 / Rate) - (4 * Math.Sqrt(expected / Count)), (1 / Rate) + (4 * Math.Sqrt(expected / Count)));
        double error = expected * Math.Sqrt((2 + (6 / burstiness)) / Count);
        Assert.InRange(variance, expected - (4 * error), expected + (4 * error));
        Assert.All(intervals, interval => Assert.True(interval >= 0));
    }

    [Fact]
    public void PoissonArrivals_CountPerSecondHasVarianceEqualToItsMean()
    {
        double[] arrivals = ArrivalSchedule.For(50_000, 5, 1, seed: 3);
        int[] counts = new int[(int)arrivals[^1]];
        foreach (double arrival in arrivals.Where(arrival => arrival < counts.Length))
            counts[(int)arrival]++;
        double mean = counts.Average();
        double variance = counts.Average(count => (count - mean) * (count - mean));
        Assert.InRange(variance / mean, 0.93, 1.07);
    }

    [Fact]
    public void Arrivals_FixedInfiniteAndSeeded()
    {
        Assert.Equal([0, 0.25, 0.5, 0.75], ArrivalSchedule.For(4, 4, double.PositiveInfinity, 0));
        Assert.Equal([0, 0, 0], ArrivalSchedule.For(3, double.PositiveInfinity, 1, 0));
        Assert.Equal(ArrivalSchedule.For(100, 4, 1, 7), ArrivalSchedule.For(100, 4, 1, 7));
        Assert.NotEqual(ArrivalSchedule.For(100, 4, 1, 7), ArrivalSchedule.For(100, 4, 1, 8));
    }

    [Fact]
    public void RandomPrompts_HaveTheirLengthsIdsAndPrefix()
    {
        BenchPrompt[] prompts = [.. RandomPrompts.Create(200, 20, 4, 0.5, 300, seed: 1)];
        Assert.All(prompts, prompt => Assert.InRange(prompt.TokenIds.Length, 14, 34));
        Assert.All(prompts, prompt => Assert.All(prompt.TokenIds, id => Assert.InRange(id, 10, 299)));
        Assert.All(prompts, prompt => Assert.Equal(prompts[0].TokenIds[..4], prompt.TokenIds[..4]));
        Assert.True(prompts.Select(prompt => prompt.TokenIds.Length).Distinct().Count() > 10);
        Assert.All(RandomPrompts.Create(5, 20, 0, 0, 0, seed: 1), prompt => Assert.Equal(20, prompt.Text!.Split(' ').Length));
        Assert.All(RandomPrompts.Create(5, 8, 0, 0, 4, seed: 1), prompt => Assert.All(prompt.TokenIds, id => Assert.InRange(id, 0, 3)));
    }

    [Fact]
    public void Datasets_AreReadInTheirShapes()
    {
        string path = Path.Combine(Path.GetTempPath(), $"bench-{Guid.NewGuid():N}.jsonl");
        try
        {
            File.WriteAllText(path, """
                {"question_id":81,"turns":["first turn","second"]}
                {"question":"how many?","answer":"4"}

                {"task_id":"HumanEval/0","prompt":"def f():"}
                {"messages":[{"role":"user","content":"hello there"}]}
                """);
            Assert.Equal(["first turn", "how many?", "def f():", "hello there", "first turn"], DatasetPrompts.Read(path, 5).Select(prompt => prompt.Text));
            File.WriteAllText(path, "{\"turns\":[\"a\"]}\n{\"other\":1}\n");
            Assert.Contains("line 2", Assert.Throws<InvalidDataException>(() => DatasetPrompts.Read(path, 2)).Message, StringComparison.Ordinal);
            File.WriteAllText(path, "nonsense");
            Assert.Throws<InvalidDataException>(() => DatasetPrompts.Read(path, 2));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void ChunkScan_ReadsWhatCounts()
    {
        ChunkScan two = ChunkScan.Read("""{"id":"x","choices":[{"index":0,"text":"ab","token_ids":[1,2],"logprobs":{"tokens":["a"]},"finish_reason":null}],"usage":null}"""u8);
        Assert.Equal((2, "ab", false, true), (two.TokenIds, two.Text, two.Finished, two.HasTokens));
        ChunkScan held = ChunkScan.Read("""{"choices":[{"text":"","token_ids":[1],"finish_reason":null}]}"""u8);
        Assert.True(held.HasTokens);
        ChunkScan finish = ChunkScan.Read("""{"choices":[{"delta":{},"token_ids":[],"finish_reason":"stop"}]}"""u8);
        Assert.Equal((true, false), (finish.Finished, finish.HasTokens));
        ChunkScan role = ChunkScan.Read("""{"choices":[{"delta":{"role":"assistant","content":""}}]}"""u8);
        Assert.False(role.HasTokens);
        ChunkScan plain = ChunkScan.Read("""{"choices":[{"delta":{"content":"hey","tool_calls":[{"a":1}]}}]}"""u8);
        Assert.Equal((-1, true), (plain.TokenIds, plain.HasTokens));
        ChunkScan usage = ChunkScan.Read("""{"choices":[],"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":1}}}"""u8);
        Assert.Equal((5, 4, false), (usage.PromptTokens, usage.CompletionTokens, usage.HasTokens));
        Assert.Equal("boom", ChunkScan.Read("""{"error":{"message":"boom","code":null}}"""u8).Error);
    }

    [Fact]
    public async Task Serve_WritesVllmsFields()
    {
        await using FakeEdge edge = await FakeEdge.StartAsync();
        string path = Path.Combine(Path.GetTempPath(), $"bench-{Guid.NewGuid():N}.json");
        try
        {
            var host = new TestHost();
            Assert.Equal(0, await host.RunAsync("bench", "serve", "--url", edge.Url, "--num-prompts", "20", "--random-input-len", "6", "--random-output-len", "4", "--max-concurrency", "3",
                "--request-rate", "1000", "--goodput", "ttft:60000,tpot:60000", "--ignore-eos", "--save-result", path, "--save-detailed", "--seed", "5"));
            JsonNode result = JsonNode.Parse(await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken))!;
            Assert.Equal((20, 0, 60, 80), ((int)result["completed"]!, (int)result["failed"]!, (int)result["total_input_tokens"]!, (int)result["total_output_tokens"]!));
            Assert.InRange((int)result["max_concurrent_requests"]!, 1, 3);
            Assert.Equal((double)result["request_throughput"]!, (double)result["request_goodput"]!);
            foreach (string metric in new[] { "ttft", "tpot", "itl", "e2el" })
            {
                foreach (string statistic in new[] { "mean", "median", "std", "p50", "p90", "p99" })
                    Assert.True((double)result[$"{statistic}_{metric}_ms"]! >= 0);
            }
            Assert.Equal(20, result["itls"]!.AsArray().Count);
            Assert.All(result["itls"]!.AsArray(), gaps => Assert.Equal(3, gaps!.AsArray().Count));
            Assert.Matches(@"Successful requests\s+20", host.Out);
            Assert.Contains("20/20 requests, 0 failed", host.Error, StringComparison.Ordinal);
            JsonNode body = edge.Seen.First(seen => seen.Method == "POST").Body!;
            Assert.Equal((6, 4, 0.0, true), (body["prompt"]!.AsArray().Count, (int)body["max_tokens"]!, (double)body["temperature"]!, (bool)body["ignore_eos"]!));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task Serve_CountsFailures_AndReturnsNotZero()
    {
        await using FakeEdge edge = await FakeEdge.StartAsync();
        edge.Faults.Enqueue(new Fault(FaultKind.Cut, 2));
        edge.Faults.Enqueue(new Fault(FaultKind.ErrorEvent, 2));
        edge.Faults.Enqueue(new Fault(FaultKind.MissingDone, 2));
        edge.Faults.Enqueue(new Fault(FaultKind.DoneWithoutFinish, 2));
        edge.Faults.Enqueue(new Fault(FaultKind.Overloaded));
        var host = new TestHost();
        Assert.Equal(1, await host.RunAsync("bench", "serve", "--url", edge.Url, "--endpoint", "/v1/chat/completions", "--num-prompts", "7", "--max-concurrency", "1", "--random-input-len", "5", "--num-warmups", "0", "--json"));
        JsonNode result = JsonNode.Parse(host.Out)!;
        Assert.Equal((2, 5), ((int)result["completed"]!, (int)result["failed"]!));
        Assert.Contains("5 request(s) failed", host.Error, StringComparison.Ordinal);
        Assert.Equal(5, ((string)edge.Seen.First(seen => seen.Method == "POST").Body!["messages"]![0]!["content"]!).Split(' ').Length);
    }

    [Theory]
    [InlineData("--num-prompts", "0")]
    [InlineData("--num-prompts", "many")]
    [InlineData("--request-rate", "-1")]
    [InlineData("--request-rate", "fast")]
    [InlineData("--burstiness", "0")]
    [InlineData("--max-concurrency", "0")]
    [InlineData("--random-range-ratio", "2")]
    [InlineData("--goodput", "speed:1")]
    [InlineData("--dataset", "no-such-file.jsonl")]
    public async Task WrongOptions_AreRefused(string option, string value)
    {
        var host = new TestHost();
        Assert.NotEqual(0, await host.RunAsync("bench", "serve", "--model", "fake", "--url", "http://127.0.0.1:1", option, value));
        Assert.NotEqual("", host.Error);
    }
}
