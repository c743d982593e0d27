using System.Text;
using Cluster.Client.Transports;
using CsCheck;

namespace Cluster.Client.Tests;

/// <summary>The event stream reader gives the same events however the bytes are cut.</summary>
public sealed class SseReaderTests
{
    private const string Stream = ": ping\r\n\r\ndata: one\n\nevent: error\ndata:two\r\ndata: more\r\n\r\nid: 3\nretry: 5\n\ndata: [DONE]\n\ndata: unfinished";

    [Fact]
    public void EveryCut_GivesTheSameEvents() =>
        Gen.Int[1, 40].Array[1, 60].Sample(sizes =>
        {
            List<string> events = Read(new ChunkedStream(Encoding.UTF8.GetBytes(Stream), sizes));
            Assert.Equal(["one", "two\nmore", "[DONE]"], events);
        }, iter: 500);

    [Fact]
    public void LongLines_AreRead_AndTooLongOnesRefused()
    {
        string text = new('x', 300_000);
        Assert.Equal([text], Read(new ChunkedStream(Encoding.UTF8.GetBytes($"data: {text}\n\n"), [1000])));
        using var endless = new SseReader(new ChunkedStream(new byte[SseReader.MaxLineBytes * 2], [1 << 20]));
        Assert.Throws<InvalidDataException>(() => endless.ReadAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult());
    }

    private static List<string> Read(Stream stream)
    {
        using var reader = new SseReader(stream);
        List<string> events = [];
        while (reader.ReadAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult())
            events.Add(reader.ToString());
        return events;
    }

    /// <summary>Gives bytes in pieces of given sizes, over and over.</summary>
    private sealed class ChunkedStream(byte[] bytes, int[] sizes) : MemoryStream(bytes)
    {
        private int _next;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(buffer.Length, sizes[_next++ % sizes.Length])], cancellationToken);
    }
}
