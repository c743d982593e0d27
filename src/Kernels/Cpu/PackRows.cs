using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;

namespace Cluster.Kernels.Cpu;

/// <summary>A row that is being packed.</summary>
/// <param name="Start">First byte.</param>
/// <param name="Part">Index of its tensor.</param>
internal readonly record struct PackRow(nint Start, int Part);

/// <summary>Packs the rows of one panel, in their order. Called by any thread of the pool.</summary>
internal delegate void PanelPacking(int panel, ReadOnlySpan<PackRow> rows);

/// <summary>
/// Hands the stacked rows of checkpoint tensors to the threads of a pool, panel by panel. Rows are read from their file into a buffer
/// that stays in the cache: a mapped page that is looked at only once costs several times what copying it does (the page table, and
/// under a hypervisor a second one).
/// </summary>
internal sealed unsafe class PackRows : IDisposable
{
    // Below this a system call costs more than the page fault it saves.
    private const int SmallestRead = 2048;

    private readonly IReadOnlyList<HostTensor> _parts;
    private readonly CpuThreadPool _pool;
    private readonly int _width;
    private readonly PackRow[] _rows;
    private readonly PackRow[][] _fetched;
    private readonly NativeBlock[] _buffers;
    private readonly long _rowBytes;

    /// <summary>Rows of tensors of equal width.</summary>
    /// <param name="pool">The threads.</param>
    /// <param name="parts">Stacked along the output.</param>
    /// <param name="width">Rows of a panel.</param>
    public PackRows(CpuThreadPool pool, IReadOnlyList<HostTensor> parts, int width)
    {
        (_pool, _parts, _width) = (pool, parts, width);
        _rows = new PackRow[parts.Sum(part => part.Rows)];
        int next = 0;
        for (int part = 0; part < parts.Count; part++)
        {
            for (int row = 0; row < parts[part].Rows; row++)
                _rows[next++] = new PackRow(parts[part].RowAddress(row), part);
        }
        _rowBytes = parts.Max(part => part.Type.BytesOf(part.Columns));
        _fetched = [.. Enumerable.Range(0, pool.Threads).Select(_ => new PackRow[width])];
        _buffers = [.. Enumerable.Range(0, pool.Threads).Select(_ => new NativeBlock(width * _rowBytes, zeroed: false))];
    }

    /// <summary>Packs all panels.</summary>
    public void Run(PanelPacking pack)
    {
        GCHandle job = GCHandle.Alloc((Action<int, int>)((panel, thread) => pack(panel, Fetch(panel, thread))));
        try
        {
            _pool.Run((_rows.Length + _width - 1) / _width, _rows.Length * _rowBytes, (void*)GCHandle.ToIntPtr(job), &Panel);
        }
        catch (InvalidOperationException failure) when (failure.InnerException is { } cause)
        {
            // What a thread of the pool failed with, as the caller's own thread would.
            ExceptionDispatchInfo.Throw(cause);
        }
        finally
        {
            job.Free();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (NativeBlock buffer in _buffers)
            buffer.Dispose();
    }

    private static void Panel(void* job, int panel, int thread) => ((Action<int, int>)GCHandle.FromIntPtr((nint)job).Target!)(panel, thread);

    private ReadOnlySpan<PackRow> Fetch(int panel, int thread)
    {
        int count = Math.Min(_width, _rows.Length - (panel * _width));
        ReadOnlySpan<PackRow> rows = _rows.AsSpan(panel * _width, count);
        Span<PackRow> fetched = _fetched[thread].AsSpan(0, count);
        byte* free = _buffers[thread].Pointer;
        for (int i = 0; i < count;)
        {
            int run = Run(rows[i..], out int bytes);
            MappedFile? file = bytes < SmallestRead ? null : _parts[rows[i].Part].File;
            file?.Read(rows[i].Start, new Span<byte>(free, bytes));
            for (int end = i + run; i < end; i++)
            {
                fetched[i] = file is null ? rows[i] : rows[i] with { Start = (nint)free };
                free += bytes / run;
            }
        }
        return fetched;
    }

    // How many rows lie one after the other, and their bytes.
    private int Run(ReadOnlySpan<PackRow> rows, out int bytes)
    {
        HostTensor part = _parts[rows[0].Part];
        int rowBytes = checked((int)part.Type.BytesOf(part.Columns)), run = 1;
        while (run < rows.Length && rows[run].Part == rows[0].Part && rows[run].Start == rows[run - 1].Start + rowBytes)
            run++;
        bytes = checked(run * rowBytes);
        return run;
    }
}
