using System.Diagnostics;
using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Clusters;

/// <summary>
/// Streams that never stop coming: each worker repeats its own request (greedy, seeded, or three choices) at changing silos
/// and compares every answer, token by token, with an undisturbed run.
/// </summary>
internal sealed class StreamLoad(SiloCluster cluster, string model, int workers, int maxTokens)
{
    private readonly JsonObject[] _requests = Requests(model, workers, maxTokens);
    private int[][][] _expected = [];
    private volatile bool _isEnding;
    private Task _running = Task.CompletedTask;
    private int _completed;
    private int _resumes;

    /// <summary>Streams that ended with the right tokens.</summary>
    public int Completed => _completed;

    /// <summary>Times that a stream was cut and taken up again.</summary>
    public int Resumes => _resumes;

    /// <summary>Runs every request once, undisturbed, and keeps the answers.</summary>
    public async Task LearnAsync() =>
        _expected = await Task.WhenAll(_requests.Select(async (request, i) => Completions.TokensOf(await new ResumingReader(cluster, request).ReadAsync(i))));

    /// <summary>Starts all workers.</summary>
    public void Start() => _running = Task.WhenAll(Enumerable.Range(0, workers).Select(worker => Task.Run(() => WorkAsync(worker))));

    /// <summary>Lets the streams that run end.</summary>
    /// <exception cref="Exception">A stream failed or had other tokens.</exception>
    public Task EndAsync()
    {
        _isEnding = true;
        return _running;
    }

    /// <summary>Waits until so many more streams have completed than now.</summary>
    /// <exception cref="TimeoutException">They did not within a minute.</exception>
    public async Task MoreAsync(int streams)
    {
        int wanted = _completed + streams;
        for (long start = Stopwatch.GetTimestamp(); _completed < wanted; await Task.Delay(20))
        {
            await CheckAsync();
            if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromMinutes(1))
                throw new TimeoutException($"{_completed - wanted + streams} of {streams} streams completed within a minute.\n{cluster.Outputs()}");
        }
    }

    /// <summary>Fails as soon as a worker has.</summary>
    public Task CheckAsync() => _running.IsFaulted ? _running : Task.CompletedTask;

    private async Task WorkAsync(int worker)
    {
        for (int round = 0; !_isEnding; round++)
        {
            var reader = new ResumingReader(cluster, _requests[worker]);
            int[][] tokens = Completions.TokensOf(await reader.ReadAsync(worker + round));
            Assert.Equal(_expected[worker], tokens);
            Interlocked.Increment(ref _completed);
            Interlocked.Add(ref _resumes, reader.Resumes);
        }
    }

    private static JsonObject[] Requests(string model, int workers, int maxTokens)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(model);
        int[] prompt = checkpoint.Prompt("p33").Ids;
        return [.. Enumerable.Range(0, workers).Select(worker => (worker % 3) switch
        {
            0 => Completions.Greedy(model, [.. prompt, worker + 3], maxTokens),
            1 => Completions.Sampled(model, prompt, maxTokens, choices: 1, seed: worker),
            _ => Completions.Sampled(model, prompt, maxTokens, choices: 3, seed: worker),
        })];
    }
}
