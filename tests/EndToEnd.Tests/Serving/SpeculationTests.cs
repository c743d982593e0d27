using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Serving;

/// <summary>A silo that guesses ahead answers with the tokens of one that does not: greedy, sampled, over tensor ranks, and after a kill.</summary>
public sealed class SpeculationTests
{
    private const string Ngram = """{"method": "ngram", "num_speculative_tokens": 6, "prompt_lookup_min": 1, "adaptive": false}""";

    [Theory]
    [InlineData("llama", "1")]
    [InlineData("llama", "2")]
    [InlineData("qwen2_moe", "1")]
    public async Task PromptLookup_ChangesNoToken(string model, string tensorRanks)
    {
        string[] flags = ["--model", SharedData.InRepository("tests", "Checkpoints", model), "--kv-cache-memory-bytes", "8MiB", "--devices", "cpu:0/1,cpu:1/1"];
        JsonObject[] requests = Requests(model);
        using SiloProcess plain = await Silos.LaunchAsync(flags);
        int[][][] expected = await Task.WhenAll(requests.Select(request => Completions.TokensAsync(plain, request)));
        using SiloProcess guessing = await Silos.LaunchAsync([.. flags, "--tensor-parallel-size", tensorRanks, "--speculative-config", Ngram]);
        int[][][] actual = await Task.WhenAll(requests.Select(request => Completions.TokensAsync(guessing, request)));
        for (int i = 0; i < requests.Length; i++)
            Assert.Equal(expected[i], actual[i]);

        (_, string metrics) = await guessing.GetAsync("/metrics");
        double drafts = Total(metrics, "vllm:spec_decode_num_drafts_total"), tokens = Total(metrics, "vllm:spec_decode_num_draft_tokens_total");
        double accepted = Total(metrics, "vllm:spec_decode_num_accepted_tokens_total");
        Assert.True(drafts > 0 && tokens >= drafts && accepted > 0 && accepted < tokens, $"{drafts} drafts, {tokens} tokens, {accepted} right");
        Assert.Equal(accepted, Total(metrics, "vllm:spec_decode_num_accepted_tokens_per_pos_total"));
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while ((await AcceptedAsync(guessing)).Sum() != accepted)
            await Task.Delay(50, patience.Token); // Replicas report to the topology now and then.
    }

    [Theory]
    [InlineData("cpu:0/2", "1")]
    [InlineData("cpu:0/1,cpu:1/1", "1")]
    [InlineData("cpu:0/1,cpu:1/1,cpu:2/1", "2")]
    public async Task DraftModel_ChangesNoToken(string devices, string tensorRanks)
    {
        JsonObject[] requests = [.. Enumerable.Range(0, 10).Select(Question)];
        using SiloProcess plain = await Silos.LaunchAsync("--devices", "cpu:0/2");
        string[] expected = await Task.WhenAll(requests.Select(request => AnswerAsync(plain, request)));
        using SiloProcess guessing = await Silos.LaunchAsync(
            "--devices", devices, "--tensor-parallel-size", tensorRanks, "--speculative-config", """{"method": "draft_model", "model": "cluster-demo-draft", "num_speculative_tokens": 4, "adaptive": false}""");
        Assert.Equal(expected, await Task.WhenAll(requests.Select(request => AnswerAsync(guessing, request))));

        (_, string metrics) = await guessing.GetAsync("/metrics");
        double drafts = Total(metrics, "vllm:spec_decode_num_drafts_total"), accepted = Total(metrics, "vllm:spec_decode_num_accepted_tokens_total");
        Assert.True(accepted > drafts / 2, $"{drafts} drafts, {accepted} tokens right: the draft hardly knows the target's text.");
        // What the draft computes is not what was asked for.
        Assert.DoesNotContain(metrics.Split('\n'), line => line.StartsWith("vllm:generation_tokens_total{", StringComparison.Ordinal) && line.Contains("draft", StringComparison.Ordinal) && !line.EndsWith(" 0", StringComparison.Ordinal));
    }

    [Fact]
    public async Task KilledInTheMiddle_GoesOnWithTheSameEvents()
    {
        string[] flags = ["--model", SharedData.InRepository("tests", "Checkpoints", "llama"), "--kv-cache-memory-bytes", "8MiB"];
        JsonObject request = Requests("llama")[^1];
        request["max_tokens"] = 150;
        using SiloProcess plain = await Silos.LaunchAsync(flags);
        List<string> undisturbed = await Completions.EventsAsync(plain, request);
        using SiloProcess guessing = await Silos.LaunchAsync([.. flags, "--speculative-config", Ngram]);
        List<string> events = [];
        try
        {
            await foreach (string payload in ServerSentEvents.PostAsync(guessing.Http, "/v1/completions", (JsonObject)request.DeepClone()))
            {
                events.Add(payload);
                if (events.Count == 40)
                    guessing.Kill();
            }
        }
        catch (Exception cut) when (cut is HttpRequestException or IOException)
        {
            // As it has to be: the silo is dead.
        }

        await guessing.StartAsync();
        string id = (string)JsonNode.Parse(events[0])!["id"]!;
        long last = Completions.SequenceNumber(events[^1]);
        await foreach (string payload in ServerSentEvents.ResumeAsync(guessing.Http, $"/v1/completions/{id}", last))
            events.Add(payload);
        Assert.Equal(Completions.TokensOf(undisturbed), Completions.TokensOf(events));
    }

    private static JsonObject Question(int number) => new()
    {
        ["model"] = "cluster-demo",
        ["prompt"] = $"Number {number} and",
        ["max_tokens"] = 60,
        ["temperature"] = number % 2 == 0 ? 0 : 0.8,
        ["frequency_penalty"] = number % 3 == 0 ? 0.3 : 0,
        ["seed"] = number,
    };

    private static async Task<string> AnswerAsync(SiloProcess silo, JsonObject request)
    {
        (_, JsonNode body) = await silo.PostAsync("/v1/completions", (JsonObject)request.DeepClone());
        return body["choices"]![0]!.ToJsonString();
    }

    private static JsonObject[] Requests(string model)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(model);
        int[] prompt = checkpoint.Prompt("p33").Ids;
        JsonObject penalised = Completions.Sampled(model, prompt, 50, choices: 2, seed: 11);
        penalised["frequency_penalty"] = 0.4;
        JsonObject ending = Completions.Greedy(model, [.. prompt, .. prompt], 80);
        ending["ignore_eos"] = false;
        return
        [
            Completions.Greedy(model, prompt, 120),
            Completions.Greedy(model, prompt[..5], 90),
            ending,
            penalised,
            Completions.Sampled(model, prompt, 60, choices: 3, seed: 7),
        ];
    }

    private static double Total(string metrics, string name) => metrics.Split('\n')
        .Where(line => line.StartsWith(name + "{", StringComparison.Ordinal))
        .Sum(line => double.Parse(line[(line.LastIndexOf(' ') + 1)..], System.Globalization.CultureInfo.InvariantCulture));

    private static async Task<IEnumerable<long>> AcceptedAsync(SiloProcess silo)
    {
        (_, string text) = await silo.GetAsync("/admin/topology");
        return JsonNode.Parse(text)!["replicas"]!.AsArray()
            .SelectMany(replica => replica!["load"]!["speculation"]?["accepted_per_position"]!.AsArray() ?? [])
            .Select(count => (long)count!);
    }
}
