using System.Diagnostics;

namespace Cluster.Kernels.Execution;

/// <summary>
/// The only thread that touches a device's tensors. Work runs in the order it was posted; a failure reaches whoever
/// awaits that piece of work and nobody else. Several shards may share one device.
/// </summary>
public sealed class DeviceThread : IAsyncDisposable
{
    // A step of a small model takes tens of microseconds and the next one comes as soon as its tokens are known:
    // waking a parked thread would cost as much again. 20 us is short enough not to be seen by a neighbour.
    private static readonly long SpinTicks = Stopwatch.Frequency / 50_000;

    private readonly Lock _gate = new();
    private readonly Queue<WorkItem> _work = new();
    private readonly SemaphoreSlim _arrived = new(0);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile int _posted;
    private bool _closed;

    private DeviceThread(DeviceId device) => Device = device;

    /// <summary>The device.</summary>
    public DeviceId Device { get; }

    /// <summary>Starts a thread and opens the device on it.</summary>
    /// <param name="factory">Library that drives the device.</param>
    /// <param name="device">Which device.</param>
    /// <param name="threads">Worker threads for a CPU device; 0 = the library's choice.</param>
    public static async Task<DeviceThread> StartAsync(IDeviceOpsFactory factory, DeviceId device, int threads)
    {
        ArgumentNullException.ThrowIfNull(factory);
        if (!factory.Supports(device, out string reason))
            throw new ArgumentException($"Device {device} cannot be opened: {reason}", nameof(device));
        var thread = new DeviceThread(device);
        var opened = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() => thread.Run(factory, threads, opened)) { IsBackground = true, Name = $"device {device}" }.Start();
        await opened.Task;
        return thread;
    }

    /// <summary>Runs work on the device's thread.</summary>
    /// <exception cref="ObjectDisposedException">The device was closed.</exception>
    public Task<T> RunAsync<T>(Func<IDeviceOps, T> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        var item = new WorkItem<T>(work);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            _work.Enqueue(item);
            _posted++;
        }
        _arrived.Release();
        return item.Completion;
    }

    /// <summary>Runs work on the device's thread.</summary>
    /// <exception cref="ObjectDisposedException">The device was closed.</exception>
    public Task RunAsync(Action<IDeviceOps> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        return RunAsync(ops =>
        {
            work(ops);
            return true;
        });
    }

    /// <summary>Finishes what was posted, closes the device and ends the thread.</summary>
    public async ValueTask DisposeAsync()
    {
        bool first;
        lock (_gate)
        {
            first = !_closed;
            _closed = true;
        }
        if (first)
            _arrived.Release();
        await _ended.Task;
    }

    private void Run(IDeviceOpsFactory factory, int threads, TaskCompletionSource opened)
    {
        IDeviceOps ops;
        try
        {
            ops = factory.Open(Device, threads);
        }
        catch (Exception e)
        {
            opened.SetException(e);
            return;
        }
        opened.SetResult();
        while (Next() is { } item)
            item.Run(ops);
        try
        {
            ops.Dispose();
            _ended.SetResult();
        }
        catch (Exception e)
        {
            _ended.SetException(e);
        }
    }

    // The next piece of work, or null when the device is closed and everything is done.
    private WorkItem? Next()
    {
        SpinForWork();
        _arrived.Wait();
        lock (_gate)
        {
            if (!_work.TryDequeue(out WorkItem? item))
                return null;
            _posted--;
            return item;
        }
    }

    private void SpinForWork()
    {
        long end = Stopwatch.GetTimestamp() + SpinTicks;
        while (_posted == 0 && Stopwatch.GetTimestamp() < end)
            Thread.SpinWait(8);
    }

    private abstract class WorkItem
    {
        public abstract void Run(IDeviceOps ops);
    }

    private sealed class WorkItem<T>(Func<IDeviceOps, T> work) : WorkItem
    {
        private readonly TaskCompletionSource<T> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<T> Completion => _completion.Task;

        public override void Run(IDeviceOps ops)
        {
            try
            {
                _completion.SetResult(work(ops));
            }
            catch (Exception e)
            {
                _completion.SetException(e);
            }
        }
    }
}
