using System.Collections.Immutable;

namespace Cluster.Cli.Bench;

/// <summary>Sends all requests at their times, at most so many at once.</summary>
internal sealed class BenchRun(BenchTarget target, BenchOptions options, TimeProvider time)
{
    /// <summary>Runs the warm-ups and the measurement.</summary>
    /// <param name="prompts">One per request.</param>
    /// <param name="onDone">Called after each request, from any thread.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    /// <exception cref="InvalidDataException">A warm-up failed: the measurement would too.</exception>
    public async Task<BenchResult> RunAsync(ImmutableArray<BenchPrompt> prompts, Action<RequestRecord> onDone, CancellationToken cancellationToken)
    {
        byte[][] bodies = [.. prompts.Select(target.Body)];
        for (int i = 0; i < options.Warmups; i++)
        {
            RequestRecord record = await target.SendAsync(bodies[i % bodies.Length], 0, time.GetTimestamp(), cancellationToken);
            if (!record.Succeeded)
                throw new InvalidDataException($"The first request failed: {record.Error}");
        }
        double[] arrivals = ArrivalSchedule.For(prompts.Length, options.RequestRate, options.Burstiness, options.Seed);
        using SemaphoreSlim? slots = options.MaxConcurrency is { } most ? new SemaphoreSlim(most) : null;
        var requests = new Task<RequestRecord>[prompts.Length];
        long start = time.GetTimestamp();
        for (int i = 0; i < requests.Length; i++)
        {
            TimeSpan wait = TimeSpan.FromSeconds(arrivals[i]) - time.GetElapsedTime(start);
            if (wait > TimeSpan.Zero)
                await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
            requests[i] = SendAsync(bodies[i], prompts[i].InputLength, slots, start, onDone, cancellationToken);
        }
        RequestRecord[] records = await Task.WhenAll(requests).ConfigureAwait(false);
        return BenchResult.Compute(records, time.GetElapsedTime(start).TotalSeconds, options.Goodput);
    }

    private async Task<RequestRecord> SendAsync(byte[] body, int inputLength, SemaphoreSlim? slots, long start, Action<RequestRecord> onDone, CancellationToken cancellationToken)
    {
        // The clock of a request starts when it is sent, not when it was due (as in vLLM).
        if (slots is not null)
            await slots.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            RequestRecord record = await target.SendAsync(body, inputLength, start, cancellationToken).ConfigureAwait(false);
            onDone(record);
            return record;
        }
        finally
        {
            slots?.Release();
        }
    }
}
