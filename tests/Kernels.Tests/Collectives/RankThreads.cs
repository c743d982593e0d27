using System.Diagnostics;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>Runs one program on all ranks, a thread each.</summary>
internal static class RankThreads
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(15);

    /// <summary>Runs and expects every rank to end well.</summary>
    public static void Run(IReadOnlyList<IProcessGroup> ranks, Action<IProcessGroup> program)
    {
        Exception?[] failures = Try(ranks, program);
        // A rank that fails an assertion takes the others with it: its failure is the one to show.
        Exception? first = failures.FirstOrDefault(e => e is not null and not ProcessGroupException) ?? failures.FirstOrDefault(e => e is not null);
        if (first is not null)
            throw new InvalidOperationException($"A rank failed: {first.Message}", first);
    }

    /// <summary>Runs and expects every rank to see the group fail.</summary>
    public static ProcessGroupException[] Fail(IReadOnlyList<IProcessGroup> ranks, Action<IProcessGroup> program) =>
        [.. Try(ranks, program).Select(e => Assert.IsType<ProcessGroupException>(e))];

    /// <summary>Runs; the exception of each rank.</summary>
    public static Exception?[] Try(IReadOnlyList<IProcessGroup> ranks, Action<IProcessGroup> program)
    {
        var failures = new Exception?[ranks.Count];
        Thread[] threads = [.. ranks.Select((group, i) => new Thread(() => RunOne(group, program, ref failures[i])) { IsBackground = true, Name = $"rank {i}" })];
        foreach (Thread thread in threads)
            thread.Start();
        long start = Stopwatch.GetTimestamp();
        foreach (Thread thread in threads)
        {
            TimeSpan left = Limit - Stopwatch.GetElapsedTime(start);
            Assert.True(thread.Join(left < TimeSpan.Zero ? TimeSpan.Zero : left), $"{thread.Name} hangs");
        }

        return failures;
    }

    private static void RunOne(IProcessGroup group, Action<IProcessGroup> program, ref Exception? failure)
    {
        try
        {
            program(group);
        }
        catch (Exception e)
        {
            failure = e;
            if (e is not ProcessGroupException)
                group.Abort($"rank {group.Rank}: {e.Message}");
        }
    }
}
