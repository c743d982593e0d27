using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// Frames to one peer, in order. Sockets do not block: whoever has something to send pushes as much as they take. Frames whose
/// sender does not wait are kept in bounded buffers and pushed by the mesh's thread.
/// </summary>
internal sealed unsafe class FrameSender(Socket[] connections, Stripes stripes, long capacity)
{
    // A small payload goes out with its header in one call.
    private const int StageBytes = 16 << 10;

    private readonly Lock _gate = new();
    private readonly Queue<OutFrame> _frames = new();
    private readonly Stack<OutFrame> _spareFrames = new();
    private readonly List<byte[]> _spareBuffers = [];
    private readonly byte[] _stage = GC.AllocateArray<byte>(FrameHeader.Bytes + StageBytes, pinned: true);
    private OutFrame? _last;
    private long _spareBytes;
    private long _kept;
    private long _begun;
    private long _ended;

    /// <summary>Whether frames wait that nobody but the mesh's thread will push.</summary>
    public bool HasKept => Volatile.Read(ref _kept) > 0;

    /// <summary>Whether a frame has left this process.</summary>
    public bool HasEnded(long ticket) => Volatile.Read(ref _ended) >= ticket;

    /// <summary>Starts a frame and pushes. The data stays in place until the frame has ended, is kept or is dropped.</summary>
    public long Begin(in FrameHeader header, byte* data)
    {
        lock (_gate)
        {
            OutFrame frame = _spareFrames.Count > 0 ? _spareFrames.Pop() : new OutFrame(connections.Length);
            frame.Header = header;
            frame.Data = data;
            Array.Clear(frame.Gone);
            _frames.Enqueue(frame);
            _last = frame;
            long ticket = ++_begun;
            Push();
            return ticket;
        }
    }

    /// <summary>Pushes; whether anything moved.</summary>
    public bool Pump()
    {
        lock (_gate)
            return Push();
    }

    /// <summary>Copies what is left of the last frame, if there is room: its sender may go.</summary>
    public bool TryKeep(long ticket)
    {
        lock (_gate)
        {
            if (_ended >= ticket)
                return true;
            OutFrame frame = _last!;
            long bytes = frame.Header.PayloadBytes;
            if (_kept + bytes > capacity)
                return false;
            frame.Kept = Rent((int)bytes);
            new ReadOnlySpan<byte>(frame.Data, (int)bytes).CopyTo(frame.Kept);
            frame.Data = (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(frame.Kept, 0);
            Volatile.Write(ref _kept, _kept + Math.Max(1, bytes));
            return true;
        }
    }

    /// <summary>Forgets every frame: the group has failed, and their memory goes back to its owners.</summary>
    public void Drop()
    {
        lock (_gate)
        {
            _frames.Clear();
            Volatile.Write(ref _kept, 0);
        }
    }

    /// <summary>Adds the sockets that have to take more before anything moves.</summary>
    public void AddWaiting(List<Socket> sockets)
    {
        lock (_gate)
        {
            if (!_frames.TryPeek(out OutFrame? frame))
                return;
            for (int i = 0; i < stripes.Count(frame.Header.PayloadBytes); i++)
            {
                if (frame.Gone[i] < Length(frame, i))
                    sockets.Add(connections[i]);
            }
        }
    }

    private bool Push()
    {
        bool moved = false;
        while (_frames.TryPeek(out OutFrame? frame))
        {
            if (frame.Gone[0] == 0)
                Stage(frame);
            bool ended = true;
            for (int i = 0; i < stripes.Count(frame.Header.PayloadBytes); i++)
                ended &= PushPart(frame, i, ref moved);
            if (!ended)
                break;
            _frames.Dequeue();
            Recycle(frame);
            Volatile.Write(ref _ended, _ended + 1);
        }

        return moved;
    }

    private bool PushPart(OutFrame frame, int index, ref bool moved)
    {
        long length = Length(frame, index);
        long start = stripes.Start(frame.Header.PayloadBytes, index);
        int staged = index == 0 ? FrameHeader.Bytes + (int)Math.Min(StageBytes, length - FrameHeader.Bytes) : 0;
        while (frame.Gone[index] < length)
        {
            long gone = frame.Gone[index];
            ReadOnlySpan<byte> next = gone < staged
                ? _stage.AsSpan((int)gone, staged - (int)gone)
                : new ReadOnlySpan<byte>(frame.Data + start + gone - (index == 0 ? FrameHeader.Bytes : 0), (int)Math.Min(length - gone, 1 << 30));
            int sent = connections[index].Send(next, SocketFlags.None, out SocketError error);
            if (error is SocketError.WouldBlock or SocketError.TryAgain)
                return false;
            if (error != SocketError.Success)
                throw new SocketException((int)error);
            frame.Gone[index] += sent;
            moved = true;
        }

        return true;
    }

    private void Stage(OutFrame frame)
    {
        MemoryMarshal.Write(_stage, frame.Header);
        int bytes = (int)Math.Min(StageBytes, Length(frame, 0) - FrameHeader.Bytes);
        new ReadOnlySpan<byte>(frame.Data, bytes).CopyTo(_stage.AsSpan(FrameHeader.Bytes));
    }

    private long Length(OutFrame frame, int index)
    {
        long bytes = frame.Header.PayloadBytes;
        return stripes.Start(bytes, index + 1) - stripes.Start(bytes, index) + (index == 0 ? FrameHeader.Bytes : 0);
    }

    private void Recycle(OutFrame frame)
    {
        if (frame.Kept is { } buffer)
        {
            frame.Kept = null;
            Volatile.Write(ref _kept, _kept - Math.Max(1, frame.Header.PayloadBytes));
            if (_spareBytes + buffer.Length <= capacity)
            {
                _spareBuffers.Add(buffer);
                _spareBytes += buffer.Length;
            }
        }

        frame.Data = null;
        _spareFrames.Push(frame);
    }

    private byte[] Rent(int bytes)
    {
        int fit = _spareBuffers.FindIndex(buffer => buffer.Length >= bytes);
        if (fit < 0)
            return GC.AllocateUninitializedArray<byte>(Math.Max(bytes, 4096), pinned: true);
        byte[] buffer = _spareBuffers[fit];
        _spareBuffers.RemoveAt(fit);
        _spareBytes -= buffer.Length;
        return buffer;
    }
}
