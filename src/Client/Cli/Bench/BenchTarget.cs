using System.Buffers;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Cluster.Client.Transports;

namespace Cluster.Cli.Bench;

/// <summary>Sends one request to an OpenAI-compatible server and measures its stream.</summary>
internal sealed class BenchTarget(HttpClient http, BenchOptions options, TimeProvider time)
{
    private static readonly MediaTypeHeaderValue Json = new("application/json");

    /// <summary>The body for a prompt; made before the clock starts.</summary>
    public byte[] Body(BenchPrompt prompt)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("model", options.Model);
            WritePrompt(json, prompt);
            json.WriteNumber(options.IsChat ? "max_completion_tokens" : "max_tokens", options.OutputLength);
            HttpRequestWriter.WriteSampling(json, options.Sampling);
            if (options.IgnoreEos)
                json.WriteBoolean("ignore_eos", true);
            json.WriteBoolean("return_token_ids", true);
            json.WriteBoolean("stream", true);
            json.WriteStartObject("stream_options");
            json.WriteBoolean("include_usage", true);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Sends the request and reads its answer to the end; a failure is part of the record.</summary>
    /// <param name="body">From <see cref="Body"/>.</param>
    /// <param name="inputLength">Prompt tokens if the server does not say.</param>
    /// <param name="runStart">Timestamp of the start of the run.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    public async Task<RequestRecord> SendAsync(byte[] body, int inputLength, long runStart, CancellationToken cancellationToken)
    {
        long start = time.GetTimestamp();
        var measure = new StreamMeasure(start, time);
        string error;
        try
        {
            error = await ReadAsync(body, measure, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException or InvalidDataException or JsonException)
        {
            error = exception.Message;
        }
        return measure.ToRecord(error, time.GetElapsedTime(runStart, start).TotalSeconds, inputLength);
    }

    private async Task<string> ReadAsync(byte[] body, StreamMeasure measure, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, options.Endpoint.TrimStart('/')) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = Json;
        using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
        if (!response.IsSuccessStatusCode)
        {
            string answer = await response.Content.ReadAsStringAsync(cancellationToken).ConfigureAwait(false);
            return $"HTTP {(int)response.StatusCode}: {HttpErrors.Create(response.StatusCode, answer, null).Message}";
        }
        using var sse = new SseReader(await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false));
        while (await sse.ReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (sse.IsDone)
                return measure.Finished ? "" : "The stream ended without a finish reason.";
            if (measure.Add(sse.Data.Span) is { } error)
                return error;
        }
        return "The connection ended before [DONE].";
    }

    private void WritePrompt(Utf8JsonWriter json, BenchPrompt prompt)
    {
        if (options.IsChat)
        {
            json.WriteStartArray("messages");
            json.WriteStartObject();
            json.WriteString("role", "user");
            json.WriteString("content", prompt.Text ?? throw new ArgumentException("A chat needs text prompts: use --random-prompt words or a dataset."));
            json.WriteEndObject();
            json.WriteEndArray();
        }
        else if (prompt.Text is not null)
        {
            json.WriteString("prompt", prompt.Text);
        }
        else
        {
            json.WriteStartArray("prompt");
            foreach (int id in prompt.TokenIds)
                json.WriteNumberValue(id);
            json.WriteEndArray();
        }
    }

    /// <summary>Times and counts of one stream.</summary>
    private sealed class StreamMeasure(long start, TimeProvider time)
    {
        private readonly List<double> _itl = [];
        private readonly StringBuilder _text = new();
        private long _first;
        private long _last;
        private int _ids;
        private int _chunks;
        private int _promptTokens = -1;
        private int _completionTokens = -1;

        public bool Finished { get; private set; }

        /// <summary>Takes a chunk; returns the message of an error event.</summary>
        public string? Add(ReadOnlySpan<byte> chunk)
        {
            long now = time.GetTimestamp();
            ChunkScan scan = ChunkScan.Read(chunk);
            if (scan.Error is not null)
                return scan.Error;
            if (scan.HasTokens)
            {
                if (_first == 0)
                    _first = now;
                else
                    _itl.Add(time.GetElapsedTime(_last, now).TotalSeconds);
                _last = now;
                _chunks++;
                _ids += Math.Max(scan.TokenIds, 0);
                _text.Append(scan.Text);
            }
            if (scan.Finished)
            {
                Finished = true;
                _last = now;
            }
            _promptTokens = Math.Max(_promptTokens, scan.PromptTokens);
            _completionTokens = Math.Max(_completionTokens, scan.CompletionTokens);
            return null;
        }

        public RequestRecord ToRecord(string error, double sent, int inputLength)
        {
            if (error.Length == 0 && _first == 0)
                error = "The answer has no tokens.";
            return new RequestRecord
            {
                Succeeded = error.Length == 0,
                Error = error,
                Start = sent,
                Ttft = _first == 0 ? 0 : time.GetElapsedTime(start, _first).TotalSeconds,
                Latency = _last == 0 ? 0 : time.GetElapsedTime(start, _last).TotalSeconds,
                Itl = _itl,
                InputTokens = _promptTokens >= 0 ? _promptTokens : inputLength,
                OutputTokens = _completionTokens >= 0 ? _completionTokens : _ids > 0 ? _ids : _chunks,
                Text = _text.ToString(),
            };
        }
    }
}
