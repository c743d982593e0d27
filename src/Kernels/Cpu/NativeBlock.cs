using System.Runtime.InteropServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Zeroed or raw native memory, aligned to cache lines; large blocks to 2 MB, so that the kernel may back them with huge pages.</summary>
internal sealed unsafe class NativeBlock : IDisposable
{
    private const long HugePage = 2L << 20;
    private const int CacheLine = 64;

    private readonly bool _isZeroPages;
    private byte* _start;
    private byte* _pointer;

    public NativeBlock(long bytes, bool zeroed)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Bytes = bytes;
        long size = Math.Max(CacheLine, bytes);
        bool huge = size >= 2 * HugePage;
        _isZeroPages = huge && zeroed;
        if (_isZeroPages)
        {
            // The system hands out zero pages on first touch: a KV cache of gigabytes costs a start nothing, and memory
            // only where it is used.
            _start = (byte*)NativeMemory.AllocZeroed((nuint)(size + HugePage));
            _pointer = (byte*)(((nuint)_start + (nuint)HugePage - 1) & ~((nuint)HugePage - 1));
        }
        else
        {
            _start = _pointer = (byte*)NativeMemory.AlignedAlloc((nuint)size, huge ? (nuint)HugePage : CacheLine);
            if (zeroed)
                NativeMemory.Clear(_pointer, (nuint)size);
        }
        if (huge)
            HugePages.Advise(_pointer, size);
    }

    ~NativeBlock() => Free();

    /// <summary>Usable size.</summary>
    public long Bytes { get; }

    /// <summary>First byte; throws after disposal.</summary>
    public byte* Pointer => _pointer is not null ? _pointer : throw new ObjectDisposedException(nameof(NativeBlock));

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        if (_isZeroPages)
            NativeMemory.Free(_start);
        else
            NativeMemory.AlignedFree(_start);
        _start = _pointer = null;
    }
}
