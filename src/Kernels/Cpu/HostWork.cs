using System.Runtime.InteropServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Runs a delegate in the chunks of a region of <see cref="CpuThreadPool"/>, whose bodies are function pointers. One caller at a time.</summary>
internal sealed unsafe class HostWork : IDisposable
{
    private GCHandle _self;
    private Action<int, int>? _body;

    public HostWork() => _self = GCHandle.Alloc(this);

    /// <summary>Runs body(chunk, thread) for every chunk.</summary>
    /// <param name="pool">The threads.</param>
    /// <param name="chunks">Number of chunks.</param>
    /// <param name="work">Size in multiply-adds or so: a little is done by the caller alone.</param>
    /// <param name="body">What to do.</param>
    public void Run(CpuThreadPool pool, int chunks, long work, Action<int, int> body)
    {
        _body = body;
        pool.Run(chunks, work, (void*)GCHandle.ToIntPtr(_self), &Chunk);
        _body = null;
    }

    public void Dispose()
    {
        if (_self.IsAllocated)
            _self.Free();
    }

    private static void Chunk(void* job, int chunk, int thread) =>
        ((HostWork)GCHandle.FromIntPtr((nint)job).Target!)._body!(chunk, thread);
}
