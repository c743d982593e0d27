using System.Globalization;
using Spectre.Console;

namespace Cluster.Cli.Bench;

/// <summary>Shows how far a run is: a bar for people, a line every tenth for logs. Goes to standard error.</summary>
internal static class BenchProgress
{
    private static readonly TimeSpan RefreshRate = TimeSpan.FromMilliseconds(500);

    /// <summary>Runs <paramref name="run"/> and shows what it reports.</summary>
    public static async Task<BenchResult> ShowAsync(CliHost host, int count, Func<Action<RequestRecord>, Task<BenchResult>> run)
    {
        if (!host.IsErrorTerminal)
        {
            var lines = new Lines(host.Error, count);
            return await run(lines.Add);
        }
        Progress progress = host.Progress().Progress();
        // Seldom: drawing shares the cores with what is measured.
        progress.RefreshRate = RefreshRate;
        return await progress
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                ProgressTask task = context.AddTask("requests", maxValue: count);
                return await run(_ => task.Increment(1));
            });
    }

    private sealed class Lines(TextWriter writer, int count)
    {
        private readonly Lock _lock = new();
        private int _done;
        private int _failed;

        public void Add(RequestRecord record)
        {
            lock (_lock)
            {
                _done++;
                _failed += record.Succeeded ? 0 : 1;
                if (_done == count || _done * 10 / count != (_done - 1) * 10 / count)
                    writer.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{_done}/{count} requests, {_failed} failed"));
            }
        }
    }
}
