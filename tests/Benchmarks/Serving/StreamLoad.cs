using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Cluster.Benchmarks.Serving;

/// <summary>
/// A load generator that costs next to nothing, because it shares its cores with the server: one thread, bare sockets, no
/// parsing. It notes when each event of each stream came. With several streams it lets a millisecond of answers gather
/// before it reads, so that a step wakes it once or twice.
/// </summary>
internal sealed class StreamLoad(int port)
{
    private const int GatherMilliseconds = 1;

    private readonly byte[] _buffer = new byte[256 << 10];

    /// <summary>Sends all bodies at once and reads every answer to its end.</summary>
    /// <returns>Time stamps of each stream's events, the finish event included.</returns>
    public List<long>[] Run(IReadOnlyList<string> bodies)
    {
        var streams = new List<EventStream>();
        foreach (string body in bodies)
            streams.Add(new EventStream(Connect(body)));
        List<long>[] times = [.. streams.Select(stream => stream.Times)];
        var ready = new List<Socket>(streams.Count);
        while (streams.Count > 0)
        {
            ready.Clear();
            ready.AddRange(streams.Select(stream => stream.Socket));
            Socket.Select(ready, null, null, -1);
            if (bodies.Count > 1)
                Thread.Sleep(GatherMilliseconds);
            streams.RemoveAll(Drain);
        }
        return times;
    }

    private Socket Connect(string body)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect(IPAddress.Loopback, port);
        socket.Send(Encoding.UTF8.GetBytes(
            $"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}"));
        socket.Blocking = false;
        return socket;
    }

    private bool Drain(EventStream stream)
    {
        while (true)
        {
            int count = stream.Socket.Receive(_buffer, SocketFlags.None, out SocketError error);
            if (error == SocketError.WouldBlock)
                return false;
            if (error != SocketError.Success)
                throw new SocketException((int)error);
            if (count == 0)
            {
                stream.Close();
                return true;
            }
            stream.Add(_buffer.AsSpan(0, count), Stopwatch.GetTimestamp());
        }
    }

    private sealed class EventStream(Socket socket)
    {
        private readonly List<byte> _tail = [];
        private int _matched;

        public Socket Socket { get; } = socket;

        public List<long> Times { get; } = [];

        public void Add(ReadOnlySpan<byte> bytes, long now)
        {
            // No letter of the pattern but its first begins it, so a mismatch needs no look back.
            ReadOnlySpan<byte> pattern = "data: {"u8;
            foreach (byte value in bytes)
            {
                _matched = value == pattern[_matched] ? _matched + 1 : value == pattern[0] ? 1 : 0;
                if (_matched < pattern.Length)
                    continue;
                Times.Add(now);
                _matched = 0;
            }
            _tail.AddRange(bytes[^Math.Min(64, bytes.Length)..]);
            _tail.RemoveRange(0, Math.Max(0, _tail.Count - 64));
        }

        public void Close()
        {
            Socket.Dispose();
            string end = Encoding.UTF8.GetString([.. _tail]);
            if (!end.Contains("data: [DONE]", StringComparison.Ordinal))
                throw new InvalidDataException($"A stream ended after {Times.Count} events with: {end}");
        }
    }
}
