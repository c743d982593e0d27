using System.Buffers;
using System.Text;

namespace Cluster.Client.Transports;

/// <summary>
/// Reads the data of server-sent events from a byte stream: comments, <c>event:</c>, <c>id:</c> and <c>retry:</c> lines are
/// skipped, several data lines are joined by a line feed, CR LF and LF end lines. No allocation per event.
/// </summary>
internal sealed class SseReader(Stream stream) : IDisposable
{
    /// <summary>Longest line accepted; a longer one is not an event of ours.</summary>
    internal const int MaxLineBytes = 16 << 20;

    private readonly ArrayBufferWriter<byte> _data = new(1024);
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(8192);
    private int _start;
    private int _scanned;
    private int _end;
    private bool _hasData;

    /// <summary>Data of the current event; valid until the next read.</summary>
    public ReadOnlyMemory<byte> Data => _data.WrittenMemory;

    /// <summary>Whether the current event is the end mark <c>[DONE]</c>.</summary>
    public bool IsDone => _data.WrittenSpan.SequenceEqual("[DONE]"u8);

    /// <summary>Moves to the next event. False at the end of the stream; an unfinished event is then dropped.</summary>
    public async ValueTask<bool> ReadAsync(CancellationToken cancellationToken)
    {
        _data.ResetWrittenCount();
        _hasData = false;
        while (true)
        {
            while (TryTakeLine(out ReadOnlySpan<byte> line))
            {
                if (line.IsEmpty && _hasData)
                    return true;
                Append(line);
            }
            MakeRoom();
            int read = await stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken).ConfigureAwait(false);
            if (read == 0)
                return false;
            _end += read;
        }
    }

    /// <summary>Text of the current event, for messages.</summary>
    public override string ToString() => Encoding.UTF8.GetString(_data.WrittenSpan);

    public void Dispose()
    {
        byte[] buffer = _buffer;
        _buffer = [];
        if (buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(buffer);
        stream.Dispose();
    }

    private bool TryTakeLine(out ReadOnlySpan<byte> line)
    {
        int found = _buffer.AsSpan(_scanned, _end - _scanned).IndexOf((byte)'\n');
        if (found < 0)
        {
            _scanned = _end;
            line = default;
            return false;
        }
        int newline = _scanned + found;
        line = _buffer.AsSpan(_start, newline - _start);
        if (line.EndsWith("\r"u8))
            line = line[..^1];
        _start = _scanned = newline + 1;
        return true;
    }

    private void Append(ReadOnlySpan<byte> line)
    {
        if (!line.StartsWith("data:"u8))
            return;
        line = line["data:"u8.Length..];
        if (line.StartsWith(" "u8))
            line = line[1..];
        if (_hasData)
            _data.Write("\n"u8);
        _data.Write(line);
        _hasData = true;
    }

    private void MakeRoom()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _scanned -= _start;
            _start = 0;
        }
        if (_end < _buffer.Length)
            return;
        if (_buffer.Length >= MaxLineBytes)
            throw new InvalidDataException($"A line of the event stream is longer than {MaxLineBytes} bytes.");
        byte[] larger = ArrayPool<byte>.Shared.Rent(_buffer.Length * 2);
        _buffer.AsSpan(0, _end).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }
}
