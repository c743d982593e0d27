using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.Json;
using Cluster.Client;
using Cluster.Client.Transports;
using Cluster.Contracts;

namespace Cluster.Cli.Diagnosis;

/// <summary>The checks of <c>doctor</c>, in the order in which a fault in one explains those after it.</summary>
internal sealed class Examination : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ClockTolerance = TimeSpan.FromSeconds(5);
    private readonly Uri _url;
    private readonly TimeProvider _time;
    private readonly HttpClient _http;
    private readonly InferenceClientOptions _options;
    private string _model;

    public Examination(Uri url, string? apiKey, string model, TimeProvider time)
    {
        (_url, _model, _time) = (url, model, time);
        _http = HttpConnections.Create(url, apiKey);
        _options = new InferenceClientOptions { Url = url.AbsoluteUri, ApiKey = apiKey, Transport = TransportKind.Http, TimeProvider = time };
    }

    /// <summary>Runs the checks; stops after the first that makes the rest pointless.</summary>
    public async IAsyncEnumerable<Finding> RunAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        yield return CheckRuntime();
        Finding reachable = await TryAsync("server", CheckReachableAsync, cancellationToken);
        yield return reachable;
        if (reachable.Verdict == Verdict.Bad)
            yield break;
        yield return await TryAsync("health", CheckHealthAsync, cancellationToken);
        yield return await TryAsync("version", CheckVersionAsync, cancellationToken);
        yield return await TryAsync("clock", CheckClockAsync, cancellationToken);
        Finding models = await TryAsync("models", CheckModelsAsync, cancellationToken);
        yield return models;
        if (models.Verdict == Verdict.Bad)
            yield break;
        Finding generation = await TryAsync("generation", CheckGenerationAsync, cancellationToken);
        yield return generation;
        if (generation.Verdict == Verdict.Bad)
            yield break;
        yield return await TryAsync("streaming", CheckStreamingAsync, cancellationToken);
        yield return await TryAsync("gateways", CheckGatewaysAsync, cancellationToken);
    }

    public void Dispose() => _http.Dispose();

    private static Finding CheckRuntime()
    {
        string found = $"{RuntimeInformation.FrameworkDescription} on {RuntimeInformation.RuntimeIdentifier}, {Environment.ProcessorCount} processors";
        return Environment.Version.Major >= 10
            ? new Finding(".NET", Verdict.Good, found)
            : new Finding(".NET", Verdict.Bad, found, "Install the .NET 10 SDK.");
    }

    private async Task<Finding> CheckReachableAsync(CancellationToken cancellationToken)
    {
        long start = _time.GetTimestamp();
        using HttpResponseMessage response = await _http.GetAsync("health/live", cancellationToken);
        return new Finding("server", Verdict.Good, string.Create(CultureInfo.InvariantCulture, $"{_url} answers in {_time.GetElapsedTime(start).TotalMilliseconds:0} ms"));
    }

    private async Task<Finding> CheckHealthAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.GetAsync("health/ready", cancellationToken);
        return response.StatusCode switch
        {
            HttpStatusCode.OK => new Finding("health", Verdict.Good, "ready"),
            HttpStatusCode.NotFound => new Finding("health", Verdict.Doubtful, "the server has no /health/ready", "This is not a server of this project; generation is tried anyway."),
            _ => new Finding("health", Verdict.Bad, $"not ready (HTTP {(int)response.StatusCode})", "Wait until the model is loaded; if it stays so, read the silo's log and 'cluster ps'."),
        };
    }

    private async Task<Finding> CheckVersionAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.GetAsync("version", cancellationToken);
        if (!response.IsSuccessStatusCode)
            return new Finding("version", Verdict.Doubtful, $"client {HttpConnections.Version}, the server does not say", "Nothing to do unless something else fails.");
        using JsonDocument document = JsonDocument.Parse(await response.Content.ReadAsStringAsync(cancellationToken));
        string server = document.RootElement.TryGetProperty("version", out JsonElement version) ? version.GetString() ?? "?" : "?";
        return server.Split('+')[0] == HttpConnections.Version
            ? new Finding("version", Verdict.Good, $"client and server are {HttpConnections.Version}")
            : new Finding("version", Verdict.Doubtful, $"client {HttpConnections.Version}, server {server}", "Use the same version on both sides.");
    }

    private async Task<Finding> CheckClockAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.GetAsync("health/live", cancellationToken);
        if (response.Headers.Date is not { } date)
            return new Finding("clock", Verdict.Doubtful, "the server sends no date", "Nothing to do unless something else fails.");
        TimeSpan difference = (date - _time.GetUtcNow()).Duration();
        string detail = string.Create(CultureInfo.InvariantCulture, $"differs from the server's by {difference.TotalSeconds:0.0} s");
        return difference <= ClockTolerance
            ? new Finding("clock", Verdict.Good, detail)
            : new Finding("clock", Verdict.Doubtful, detail, "Synchronise the clocks (NTP): leases and certificates depend on them.");
    }

    private async Task<Finding> CheckModelsAsync(CancellationToken cancellationToken)
    {
        await using InferenceClient client = await InferenceClient.ConnectAsync(_options, cancellationToken);
        var models = await client.ListModelsAsync(cancellationToken);
        if (models.IsEmpty)
            return new Finding("models", Verdict.Bad, "none is served", "Start the silo with --model DIR.");
        string names = string.Join(", ", models.Select(model => $"{model.Name} ({model.MaxModelLength?.ToString(CultureInfo.InvariantCulture) ?? "?"} tokens)"));
        if (_model.Length == 0)
            _model = models[0].Name;
        return models.Any(model => model.Name == _model)
            ? new Finding("models", Verdict.Good, names)
            : new Finding("models", Verdict.Bad, $"{_model} is not among {names}", "Name a served model with --model.");
    }

    private async Task<Finding> CheckGenerationAsync(CancellationToken cancellationToken)
    {
        await using InferenceClient client = await InferenceClient.ConnectAsync(_options, cancellationToken);
        long start = _time.GetTimestamp();
        GenerationResult result = await client.GenerateAsync(Request(maxTokens: 1), cancellationToken);
        return new Finding("generation", Verdict.Good, string.Create(CultureInfo.InvariantCulture, $"{result.Usage.CompletionTokens} token in {_time.GetElapsedTime(start).TotalMilliseconds:0} ms"));
    }

    private async Task<Finding> CheckStreamingAsync(CancellationToken cancellationToken)
    {
        await using InferenceClient client = await InferenceClient.ConnectAsync(_options, cancellationToken);
        InferenceSession session = await client.StartAsync(Request(maxTokens: 8), cancellationToken);
        List<SessionEvent> events = [];
        await foreach (SessionEvent sessionEvent in session.StreamAsync(-1, cancellationToken))
            events.Add(sessionEvent);
        string detail = $"{events.Count(item => item.Kind == SessionEventKind.Token)} tokens, finish reason, usage and [DONE]";
        try
        {
            List<SessionEvent> again = [];
            await foreach (SessionEvent sessionEvent in client.ResumeAsync(session.Id, 0, cancellationToken))
                again.Add(sessionEvent);
            return again.Select(item => (item.SequenceNumber, item.TokenId)).SequenceEqual(events.Skip(1).Select(item => (item.SequenceNumber, item.TokenId)))
                ? new Finding("streaming", Verdict.Good, $"{detail}; resume repeats the rest exactly")
                : new Finding("streaming", Verdict.Bad, $"{detail}; a resume differs from the stream", "Please report this with the model's name: it must not happen.");
        }
        catch (Exception exception) when (exception is RequestRejectedException or StreamInterruptedException or HttpRequestException)
        {
            return new Finding("streaming", Verdict.Doubtful, $"{detail}; no resume ({exception.Message})", "Only servers of this project can take up a stream again.");
        }
    }

    private async Task<Finding> CheckGatewaysAsync(CancellationToken cancellationToken)
    {
        await using var transport = new HttpSessionTransport(_options);
        GatewayList? list = await transport.ListGatewaysAsync(cancellationToken);
        if (list is null || list.Gateways.IsEmpty)
            return new Finding("gateways", Verdict.Doubtful, "the server names no Orleans gateways", "The SDK will use HTTP.");
        foreach (string gateway in list.Gateways)
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await socket.ConnectAsync(IPEndPoint.Parse(gateway), cancellationToken);
            }
            catch (SocketException exception)
            {
                return new Finding("gateways", Verdict.Doubtful, $"{gateway} cannot be reached: {exception.Message}", "Open the gateway port to this machine, or let the SDK use HTTP.");
            }
        }
        return new Finding("gateways", Verdict.Good, string.Join(", ", list.Gateways));
    }

    private GenerationRequest Request(int maxTokens) => new()
    {
        Model = _model,
        // A token prompt works for models without a tokenizer too.
        Prompts = [Prompt.FromTokens(1)],
        Sampling = new SamplingOptions { Temperature = 0 },
        Stop = new StopOptions { MaxTokens = maxTokens, IgnoreEos = true },
    };

    /// <summary>Turns what a check throws into its finding.</summary>
    private async Task<Finding> TryAsync(string check, Func<CancellationToken, Task<Finding>> run, CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(Patience, _time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timeout.Token);
        try
        {
            return await run(linked.Token);
        }
        catch (Exception) when (cancellationToken.IsCancellationRequested)
        {
            throw;
        }
        catch (OperationCanceledException)
        {
            return new Finding(check, Verdict.Bad, $"no answer within {Patience.TotalSeconds:0} s", "The server hangs or is overloaded: look at its log and at 'cluster ps'.");
        }
        catch (HttpRequestException exception) when (exception.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden)
        {
            return new Finding(check, Verdict.Bad, exception.Message, "Give the silo's --api-key here too, or set CLUSTER_API_KEY.");
        }
        catch (HttpRequestException exception) when (exception.StatusCode is null)
        {
            return new Finding(check, Verdict.Bad, $"{_url} cannot be reached: {exception.Message}", "Start a silo (dotnet run -c Release --project src/Silo), or give --url / CLUSTER_URL.");
        }
        catch (RequestRejectedException exception) when (exception.Reason == RejectionReason.Overloaded)
        {
            return new Finding(check, Verdict.Bad, exception.Message, "The cluster has no free or ready replica: wait, or see 'cluster ps'.");
        }
        catch (Exception exception) when (exception is RequestRejectedException or StreamInterruptedException or IOException or HttpRequestException or TimeoutException or JsonException or InvalidDataException)
        {
            return new Finding(check, Verdict.Bad, exception.Message, "Look at the silo's log under this time.");
        }
    }
}
