using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// Messages from one rank to another. A receiver that waits already is written to directly; else a message is held in a bounded buffer, and
/// when there is no room its sender waits and the receiver copies out of the sender's memory.
/// </summary>
internal sealed unsafe class LocalMailbox(long capacity)
{
    private readonly Lock _gate = new();
    private readonly List<Message> _messages = [];
    private readonly List<byte[]> _spare = [];
    private long _held;
    private long _spareBytes;
    private long _nextTicket;
    private Posted _posted;
    private int _version;
    private long _taken;

    /// <summary>Changes whenever a message comes.</summary>
    public int Version => Volatile.Read(ref _version);

    /// <summary>Whether the receiver's memory was written.</summary>
    public bool IsDelivered => Volatile.Read(ref _posted.State) == Posted.Done;

    /// <summary>Number of messages lent by their senders that the receiver has copied.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <summary>Gives a message; 0 when it is out of the sender's hands, else the value that <see cref="Taken"/> will have once it is.</summary>
    public long Give(int tag, byte* data, int bytes)
    {
        lock (_gate)
        {
            Volatile.Write(ref _version, _version + 1);
            if (_posted.State == Posted.Waiting && _posted.Tag == tag && _posted.Bytes == bytes)
            {
                Copy(data, _posted.Output, bytes);
                Volatile.Write(ref _posted.State, Posted.Done);
                return 0;
            }

            if (_held + bytes > capacity)
            {
                _messages.Add(new Message(tag, null, data, bytes));
                return ++_nextTicket;
            }

            byte[] buffer = Rent(bytes);
            new ReadOnlySpan<byte>(data, bytes).CopyTo(buffer);
            _held += bytes;
            _messages.Add(new Message(tag, buffer, null, bytes));
            return 0;
        }
    }

    /// <summary>Takes the next message of a tag into output. Leaves output where a sender can write it if there is none.</summary>
    /// <returns>Bytes of the message (other than <paramref name="bytes"/>: not taken), or -1: none yet.</returns>
    public long Take(int tag, byte* output, int bytes)
    {
        lock (_gate)
        {
            for (int i = 0; i < _messages.Count; i++)
            {
                Message message = _messages[i];
                if (message.Tag != tag)
                    continue;
                if (message.Bytes == bytes)
                    Remove(i, message, output);
                return message.Bytes;
            }

            _posted = new Posted { State = Posted.Waiting, Tag = tag, Output = output, Bytes = bytes };
            return -1;
        }
    }

    /// <summary>Ends the wait of <see cref="Take"/>: nobody writes to output any more. True if the message was delivered.</summary>
    public bool Withdraw()
    {
        lock (_gate)
        {
            bool delivered = _posted.State == Posted.Done;
            _posted = default;
            return delivered;
        }
    }

    /// <summary>Takes back what was lent: nobody reads the sender's memory any more.</summary>
    public void Forget(byte* data)
    {
        lock (_gate)
            _messages.RemoveAll(message => message.Lent == data);
    }

    /// <summary>Tag and bytes of the oldest message, for a report.</summary>
    public (int Tag, int Bytes)? Oldest
    {
        get
        {
            lock (_gate)
                return _messages.Count == 0 ? null : (_messages[0].Tag, _messages[0].Bytes);
        }
    }

    private void Remove(int index, Message message, byte* output)
    {
        if (message.Buffer is { } buffer)
        {
            buffer.AsSpan(0, message.Bytes).CopyTo(new Span<byte>(output, message.Bytes));
            _held -= message.Bytes;
            Return(buffer);
        }
        else
        {
            Copy(message.Lent, output, message.Bytes);
            Volatile.Write(ref _taken, _taken + 1);
        }

        _messages.RemoveAt(index);
    }

    private byte[] Rent(int bytes)
    {
        for (int i = 0; i < _spare.Count; i++)
        {
            byte[] buffer = _spare[i];
            if (buffer.Length < bytes)
                continue;
            _spare.RemoveAt(i);
            _spareBytes -= buffer.Length;
            return buffer;
        }

        return GC.AllocateUninitializedArray<byte>(Math.Max(bytes, 4096));
    }

    private void Return(byte[] buffer)
    {
        if (_spareBytes + buffer.Length > capacity)
            return;
        _spare.Add(buffer);
        _spareBytes += buffer.Length;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Copy(byte* from, byte* to, int bytes) => new ReadOnlySpan<byte>(from, bytes).CopyTo(new Span<byte>(to, bytes));

    private readonly record struct Message(int Tag, byte[]? Buffer, nint LentAddress, int Bytes)
    {
        public Message(int tag, byte[]? buffer, byte* lent, int bytes)
            : this(tag, buffer, (nint)lent, bytes)
        {
        }

        public byte* Lent => (byte*)LentAddress;
    }

    private struct Posted
    {
        public const int Waiting = 1;
        public const int Done = 2;

        public int State;
        public int Tag;
        public int Bytes;
        public byte* Output;
    }
}
