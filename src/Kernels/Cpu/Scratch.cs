namespace Cluster.Kernels.Cpu;

/// <summary>Working memory of one device that grows to the largest op and stays.</summary>
internal sealed class Scratch : IDisposable
{
    private NativeBlock _memory = new(0, zeroed: false);

    /// <summary>At least <paramref name="bytes"/> bytes of anything; valid until the next call.</summary>
    public NativeBlock Get(long bytes)
    {
        if (bytes > _memory.Bytes)
        {
            _memory.Dispose();
            _memory = new NativeBlock(bytes + (bytes / 4), zeroed: false);
        }

        return _memory;
    }

    public void Dispose() => _memory.Dispose();
}
