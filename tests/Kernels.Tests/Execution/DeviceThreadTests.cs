using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Execution;

public sealed class DeviceThreadTests
{
    private static readonly DeviceId Cpu = new("cpu", 0);

    [Fact]
    public async Task Work_runs_in_order_on_one_thread()
    {
        await using DeviceThread device = await StartAsync();
        var order = new List<int>();
        var threads = new HashSet<int>();
        Task[] work = [.. Enumerable.Range(0, 500).Select(i => device.RunAsync(_ =>
        {
            order.Add(i);
            threads.Add(Environment.CurrentManagedThreadId);
        }))];
        await Task.WhenAll(work);
        Assert.Equal(Enumerable.Range(0, 500), order);
        Assert.Single(threads);
        Assert.NotEqual(Environment.CurrentManagedThreadId, threads.Single());
    }

    [Fact]
    public async Task A_continuation_does_not_run_on_the_device_thread()
    {
        await using DeviceThread device = await StartAsync();
        int inside = await device.RunAsync(_ => Environment.CurrentManagedThreadId);
        Assert.NotEqual(inside, Environment.CurrentManagedThreadId);
    }

    [Fact]
    public async Task A_failure_reaches_its_awaiter_and_nobody_else()
    {
        await using DeviceThread device = await StartAsync();
        Task<int> before = device.RunAsync(_ => 1);
        Task<int> failing = device.RunAsync<int>(_ => throw new InvalidOperationException("7 of 6"));
        Task<int> after = device.RunAsync(_ => 2);
        Assert.Equal((1, 2), (await before, await after));
        Assert.Equal("7 of 6", (await Assert.ThrowsAsync<InvalidOperationException>(() => failing)).Message);
    }

    [Fact]
    public async Task Dispose_finishes_what_was_posted_and_refuses_more()
    {
        DeviceThread device = await StartAsync();
        using var gate = new ManualResetEventSlim();
        Task held = device.RunAsync(_ => gate.Wait());
        Task<int>[] posted = [.. Enumerable.Range(0, 20).Select(i => device.RunAsync(_ => i))];
        Task closing = device.DisposeAsync().AsTask();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => device.RunAsync(_ => 0));
        Assert.False(closing.IsCompleted);
        gate.Set();
        await held;
        Assert.Equal(Enumerable.Range(0, 20), await Task.WhenAll(posted));
        await closing;
        await device.DisposeAsync();
    }

    [Fact]
    public async Task A_device_that_does_not_open_tells_its_starter()
    {
        await Assert.ThrowsAsync<ArgumentException>(() => DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cuda", 0), 0));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => DeviceThread.StartAsync(new CpuOpsFactory(), Cpu, -1));
    }

    [Fact]
    public async Task Posts_from_many_threads_all_run()
    {
        await using DeviceThread device = await StartAsync();
        int count = 0;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () =>
        {
            for (int i = 0; i < 200; i++)
                await device.RunAsync(_ => count++);
        })));
        Assert.Equal(1600, await device.RunAsync(_ => count));
    }

    private static Task<DeviceThread> StartAsync() => DeviceThread.StartAsync(new CpuOpsFactory(), Cpu, 1);
}
