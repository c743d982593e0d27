using System.Diagnostics;
using System.Text.Json.Nodes;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Clusters;

/// <summary>
/// A raw HTTP client that does what the documentation says: it reads a stream from one silo, and when that is cut it goes on
/// at another one by id and sequence number. Every event is seen once.
/// </summary>
internal sealed class ResumingReader(SiloCluster cluster, JsonObject request)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private readonly List<string> _events = [];

    /// <summary>The events so far.</summary>
    public IReadOnlyList<string> Events => _events;

    /// <summary>Times that the stream was taken up again.</summary>
    public int Resumes { get; private set; }

    /// <summary>Why it was cut.</summary>
    public List<string> Cuts { get; } = [];

    /// <summary>Reads to the end.</summary>
    public async Task<IReadOnlyList<string>> ReadAsync(int firstSilo)
    {
        long progress = Stopwatch.GetTimestamp();
        for (int attempt = 0; _events.Count == 0 || _events[^1] != ServerSentEvents.Done; attempt++)
        {
            int before = _events.Count;
            try
            {
                await foreach (string payload in Open(Silo(firstSilo + attempt)))
                    Take(payload);
            }
            catch (Exception exception) when (exception is HttpRequestException or IOException or TaskCanceledException or ObjectDisposedException)
            {
                if (exception is HttpRequestException { StatusCode: { } status } && (int)status is >= 400 and < 500)
                    throw;
                Cuts.Add(exception.Message);
            }

            if (_events.Count > before)
                progress = Stopwatch.GetTimestamp();
            if (Stopwatch.GetElapsedTime(progress) > Patience)
                throw new TimeoutException($"No event for {Patience.TotalSeconds} s after {_events.Count}: {_events.LastOrDefault()}\n{cluster.Outputs()}");
            if (_events.Count == 0 || _events[^1] != ServerSentEvents.Done)
            {
                Resumes++;
                await Task.Delay(100);
            }
        }

        return _events;
    }

    private SiloProcess Silo(int index)
    {
        IReadOnlyList<SiloProcess> silos = cluster.Silos;
        return silos[index % silos.Count];
    }

    private IAsyncEnumerable<string> Open(SiloProcess silo) => _events.Count == 0
        ? ServerSentEvents.PostAsync(silo.Http, "/v1/completions", (JsonObject)request.DeepClone())
        : ServerSentEvents.ResumeAsync(silo.Http, $"/v1/completions/{(string)JsonNode.Parse(_events[0])!["id"]!}", Completions.SequenceNumber(_events[^1]));

    private void Take(string payload)
    {
        // The error event before a cut is no part of the answer.
        if (payload != ServerSentEvents.Done && JsonNode.Parse(payload)!["error"] is not null)
        {
            Cuts.Add(payload);
            return;
        }

        if (payload != ServerSentEvents.Done && _events.Count > 0)
            Assert.Equal(Completions.SequenceNumber(_events[^1]) + 1, Completions.SequenceNumber(payload));
        _events.Add(payload);
    }
}
