using System.Runtime.InteropServices;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Hands rows to a delegate in the chunks of a region of <see cref="CpuThreadPool"/>, whose bodies are function pointers. One caller
/// at a time; allocates nothing.
/// </summary>
internal sealed unsafe class HostWork : IDisposable
{
    private GCHandle _self;
    private RowReader? _reader;
    private float* _values;
    private int _columns;

    public HostWork() => _self = GCHandle.Alloc(this);

    /// <summary>Calls the reader for every row of a matrix.</summary>
    /// <param name="pool">The threads.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="work">Size in multiply-adds or so: a little is done by the caller alone.</param>
    /// <param name="values">First row.</param>
    /// <param name="columns">Elements of a row.</param>
    /// <param name="reader">What to do.</param>
    public void Run(CpuThreadPool pool, int rows, long work, float* values, int columns, RowReader reader)
    {
        (_reader, _columns) = (reader, columns);
        _values = values;
        pool.Run(rows, work, (void*)GCHandle.ToIntPtr(_self), &Chunk);
        _reader = null;
    }

    public void Dispose()
    {
        if (_self.IsAllocated)
            _self.Free();
    }

    private static void Chunk(void* job, int row, int thread)
    {
        var self = (HostWork)GCHandle.FromIntPtr((nint)job).Target!;
        self._reader!(row, new ReadOnlySpan<float>(self._values + ((long)row * self._columns), self._columns), thread);
    }
}
