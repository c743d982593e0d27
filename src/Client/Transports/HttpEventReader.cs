using System.Runtime.CompilerServices;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>
/// Events of a session from a server-sent event stream. A stream that does not say <c>[DONE]</c>, or says it before every
/// choice has a finish reason, is a failure, never an end.
/// </summary>
internal sealed class HttpEventReader : IAsyncDisposable
{
    private readonly HttpResponseMessage _response;
    private readonly SseReader _sse;
    private readonly ChunkParser _parser;
    private readonly Queue<SessionEvent> _events = new();
    private bool _done;

    /// <param name="response">The answer, headers read.</param>
    /// <param name="stream">Its body.</param>
    /// <param name="request">What was asked, if this is the POST; null when attaching.</param>
    /// <param name="fromSequenceNumber">Number of the first event.</param>
    public HttpEventReader(HttpResponseMessage response, Stream stream, GenerationRequest? request, long fromSequenceNumber)
    {
        _response = response;
        _sse = new SseReader(stream);
        _parser = new ChunkParser(request, fromSequenceNumber);
    }

    /// <summary>What the chunks so far say of the session; null before the first.</summary>
    public SessionDescription? Description => _parser.Description;

    /// <summary>Reads up to the first event and keeps it, so that the session's id is known.</summary>
    public async Task PeekAsync(CancellationToken cancellationToken)
    {
        while (_events.Count == 0 && !_done)
            await ReadChunkAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>All events to the end; to be enumerated once.</summary>
    public async IAsyncEnumerable<SessionEvent> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        while (true)
        {
            while (_events.TryDequeue(out SessionEvent? sessionEvent))
                yield return sessionEvent;
            if (_done)
                yield break;
            await ReadChunkAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    public ValueTask DisposeAsync()
    {
        _sse.Dispose();
        _response.Dispose();
        return default;
    }

    private async ValueTask ReadChunkAsync(CancellationToken cancellationToken)
    {
        if (!await _sse.ReadAsync(cancellationToken).ConfigureAwait(false))
            throw new EndOfStreamException("the connection ended before [DONE]");
        if (_sse.IsDone)
        {
            _done = true;
            _parser.Complete(_events);
            return;
        }
        try
        {
            using JsonDocument chunk = JsonDocument.Parse(_sse.Data);
            _parser.Parse(chunk.RootElement, _events);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw new InvalidDataException($"The server sent a chunk that is not one: {Excerpt()}", exception);
        }
    }

    private string Excerpt()
    {
        string text = _sse.ToString();
        return text.Length <= 200 ? text : text[..200] + "...";
    }
}
