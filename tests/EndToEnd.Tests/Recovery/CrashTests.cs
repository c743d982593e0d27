using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Recovery;

/// <summary>
/// A silo is killed (kill -9) in the middle of streams and started again: every accepted session is still there, and a
/// resume by id and sequence number continues with exactly the events of an undisturbed run.
/// </summary>
public sealed class CrashTests
{
    private const string Model = "llama";
    private const int MaxTokens = 200;

    private static readonly string[] Flags = ["--model", SharedData.InRepository("tests", "Checkpoints", Model), "--kv-cache-memory-bytes", "8MiB"];

    private static readonly int[] Prompt = LoadPrompt();

    public static TheoryData<string> Requests => new("greedy", "sampled", "n=3");

    [Fact]
    public async Task KilledDuringStreams_EveryStreamResumesWithTheSameEvents()
    {
        JsonObject[] requests = [.. Requests.SelectMany(kind => Enumerable.Range(0, 4).Select(copy => Request(kind.Data, copy)))];
        using SiloProcess silo = await Silos.LaunchAsync(Flags);
        List<string>[] undisturbed = await Task.WhenAll(requests.Select(request => Completions.EventsAsync(silo, request)));

        List<string>[] before = await KillAfterAsync(silo, requests, eventsEach: 40);
        await silo.StartAsync();
        List<string>[] after = await Task.WhenAll(before.Select(events => ResumeAsync(silo, events)));

        for (int i = 0; i < requests.Length; i++)
        {
            Assert.InRange(before[i].Count, 1, undisturbed[i].Count - 2);
            AssertSameEvents(undisturbed[i], [.. before[i], .. after[i]]);
        }
    }

    [Fact]
    public async Task KilledTwice_StillTheSameEvents()
    {
        JsonObject[] requests = [Request("sampled", 7), Request("n=3", 8)];
        using SiloProcess silo = await Silos.LaunchAsync(Flags);
        List<string>[] undisturbed = await Task.WhenAll(requests.Select(request => Completions.EventsAsync(silo, request)));
        List<string>[] first = await KillAfterAsync(silo, requests, eventsEach: 20);
        await silo.StartAsync();

        string[] second = await KillDuringResumeAsync(silo, first[0], events: 25);
        await silo.StartAsync();
        List<string> rest = await ResumeAsync(silo, [.. first[0], .. second]);
        AssertSameEvents(undisturbed[0], [.. first[0], .. second, .. rest]);
        AssertSameEvents(undisturbed[1], [.. first[1], .. await ResumeAsync(silo, first[1])]);
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task CutAfterAnyEvent_TheRestFollows(string kind)
    {
        JsonObject request = Request(kind, 3);
        request["max_tokens"] = 12;
        using SiloProcess silo = await Silos.LaunchAsync(Flags);
        List<string> whole = await Completions.EventsAsync(silo, request);
        string path = $"/v1/completions/{Id(whole)}";

        AssertSameEvents(whole, await ReadAsync(silo, path, startingAfter: null));
        for (int cut = 0; cut < whole.Count - 1; cut++)
        {
            List<string> rest = await ReadAsync(silo, path, Completions.SequenceNumber(whole[cut]));
            AssertSameEvents(whole[(cut + 1)..], rest);
        }
    }

    [Fact]
    public async Task ABackgroundSession_GoesOnAfterTheRestart()
    {
        JsonObject request = Request("sampled", 5);
        using SiloProcess silo = await Silos.LaunchAsync(Flags);
        List<string> undisturbed = await Completions.EventsAsync(silo, request);
        request["background"] = true;
        List<string>[] before = await KillAfterAsync(silo, [request], eventsEach: 10);
        await silo.StartAsync();

        // Nobody attaches; the unary answer waits for the end of the generation.
        (_, string text) = await silo.GetAsync($"/v1/completions/{Id(before[0])}");
        int[] tokens = [.. JsonNode.Parse(text)!["choices"]![0]!["token_ids"]!.AsArray().Select(id => (int)id!)];
        Assert.Equal(Completions.TokensOf(undisturbed)[0], tokens);
    }

    private static JsonObject Request(string kind, long seed) => kind switch
    {
        "greedy" => Completions.Greedy(Model, [.. Prompt, (int)seed % 100 + 3], MaxTokens),
        "sampled" => Completions.Sampled(Model, Prompt, MaxTokens, choices: 1, seed),
        _ => Completions.Sampled(Model, Prompt, MaxTokens, choices: 3, seed),
    };

    private static async Task<List<string>[]> KillAfterAsync(SiloProcess silo, JsonObject[] requests, int eventsEach)
    {
        var events = requests.Select(_ => new List<string>()).ToArray();
        int reached = 0;
        var allReached = new TaskCompletionSource();
        Task[] readers = [.. requests.Select((request, i) => Task.Run(async () =>
        {
            try
            {
                await foreach (string payload in ServerSentEvents.PostAsync(silo.Http, "/v1/completions", (JsonObject)request.DeepClone()))
                {
                    events[i].Add(payload);
                    if (events[i].Count == eventsEach && Interlocked.Increment(ref reached) == requests.Length)
                        allReached.SetResult();
                    // Nobody runs ahead: the kill meets every stream in its middle.
                    if (events[i].Count >= eventsEach)
                        await allReached.Task;
                }
            }
            catch (Exception exception) when (exception is HttpRequestException or IOException)
            {
                // The connection died with the silo.
            }
        }))];
        await allReached.Task.WaitAsync(TimeSpan.FromMinutes(2));
        silo.Kill();
        await Task.WhenAll(readers);
        return events;
    }

    private static async Task<string[]> KillDuringResumeAsync(SiloProcess silo, List<string> seen, int events)
    {
        var more = new List<string>();
        try
        {
            await foreach (string payload in ServerSentEvents.ResumeAsync(silo.Http, $"/v1/completions/{Id(seen)}", Completions.SequenceNumber(seen[^1])))
            {
                more.Add(payload);
                if (more.Count == events)
                    silo.Kill();
            }
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException)
        {
            return [.. more];
        }
        throw new InvalidOperationException("The stream ended cleanly although its silo was killed.");
    }

    private static Task<List<string>> ResumeAsync(SiloProcess silo, List<string> seen) =>
        ReadAsync(silo, $"/v1/completions/{Id(seen)}", Completions.SequenceNumber(seen[^1]));

    private static async Task<List<string>> ReadAsync(SiloProcess silo, string path, long? startingAfter)
    {
        var events = new List<string>();
        await foreach (string payload in ServerSentEvents.ResumeAsync(silo.Http, path, startingAfter))
            events.Add(payload);
        return events;
    }

    private static string Id(List<string> events) => (string)JsonNode.Parse(events[0])!["id"]!;

    // Two runs of one request differ in id and time of creation, and in nothing else.
    private static void AssertSameEvents(IReadOnlyList<string> expected, IReadOnlyList<string> actual) =>
        Assert.Equal(expected.Select(Content), actual.Select(Content));

    private static string Content(string payload)
    {
        if (payload == ServerSentEvents.Done)
            return payload;
        JsonObject content = JsonNode.Parse(payload)!.AsObject();
        content.Remove("id");
        content.Remove("created");
        return content.ToJsonString();
    }

    private static int[] LoadPrompt()
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(Model);
        return checkpoint.Prompt("p33").Ids;
    }
}
