using System.Collections.Immutable;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>Sessions over the OpenAI HTTP routes; works with other OpenAI-compatible servers, which cannot resume.</summary>
internal sealed class HttpSessionTransport(InferenceClientOptions options) : ISessionTransport
{
    private readonly HttpClient _http = HttpConnections.Create(options.BaseAddress, options.ApiKey);

    public string Name => "http";

    /// <summary>Any answer will do: another server need not know the route.</summary>
    public async Task CheckReachableAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.GetAsync("health/live", HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The Orleans gateways, or null if the server does not name any.</summary>
    public async Task<GatewayList?> ListGatewaysAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.GetAsync("admin/gateways", cancellationToken).ConfigureAwait(false);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed)
            return null;
        await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
        if (response.Content.Headers.ContentType?.MediaType != "application/json")
            return null;
        return await response.Content.ReadFromJsonAsync(WireJson.Default.GatewayList, cancellationToken).ConfigureAwait(false);
    }

    public async Task<SessionConnection> SubmitAsync(string id, GenerationRequest request, CancellationToken cancellationToken)
    {
        using var message = new HttpRequestMessage(HttpMethod.Post, request.Kind == RequestKind.Chat ? "v1/chat/completions" : "v1/completions");
        message.Headers.Add("X-Request-Id", id);
        message.Content = new ByteArrayContent(HttpRequestWriter.Write(request));
        message.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        HttpEventReader reader = await OpenAsync(message, request, 0, cancellationToken).ConfigureAwait(false);
        try
        {
            await reader.PeekAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await reader.DisposeAsync().ConfigureAwait(false);
            throw;
        }
        string actual = reader.Description is { Id.Length: > 0 } description ? description.Id : id;
        return Connect(actual, reader);
    }

    public async Task<SessionConnection> AttachAsync(string id, long fromSequenceNumber, CancellationToken cancellationToken)
    {
        string after = fromSequenceNumber == 0 ? "" : $"&starting_after={fromSequenceNumber - 1}";
        using var message = new HttpRequestMessage(HttpMethod.Get, $"{Route(id)}?stream=true{after}");
        return Connect(id, await OpenAsync(message, null, fromSequenceNumber, cancellationToken).ConfigureAwait(false));
    }

    public Task<SessionDescription?> DescribeAsync(string id, CancellationToken cancellationToken) => Task.FromResult<SessionDescription?>(null);

    public async Task<string> DetokenizeAsync(string model, ImmutableArray<int> tokenIds, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.PostAsJsonAsync("detokenize", new DetokenizeRequest(model, tokenIds), WireJson.Default.DetokenizeRequest, cancellationToken).ConfigureAwait(false);
        await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
        using JsonDocument document = await ReadAsync(response, cancellationToken).ConfigureAwait(false);
        return document.RootElement.GetProperty("prompt").GetString() ?? "";
    }

    public async Task<bool> CancelAsync(string id, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.DeleteAsync(Route(id), cancellationToken).ConfigureAwait(false);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.Gone)
            return false;
        await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
        return true;
    }

    public async Task<ImmutableArray<ModelListing>> ListModelsAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.GetAsync("v1/models", cancellationToken).ConfigureAwait(false);
        await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
        using JsonDocument document = await ReadAsync(response, cancellationToken).ConfigureAwait(false);
        return [.. document.RootElement.GetProperty("data").EnumerateArray().Select(ReadModel)];
    }

    public async Task<ClusterTopology> GetTopologyAsync(CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.GetAsync("admin/topology", cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.NotFound)
            throw new NotSupportedException($"{options.Url} has no topology: it is not a server of this project, or an older one.");
        await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
        return await response.Content.ReadFromJsonAsync(WireJson.Default.ClusterTopology, cancellationToken).ConfigureAwait(false)
            ?? throw new InvalidDataException("The server sent an empty topology.");
    }

    public async Task<ModelDeclaration> ScaleAsync(string model, ModelScale scale, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await _http.PutAsJsonAsync($"admin/models/{model}", ScaleRequest.From(scale), WireJson.Default.ScaleRequest, cancellationToken).ConfigureAwait(false);
        await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
        return await response.Content.ReadFromJsonAsync(WireJson.Default.ModelDeclaration, cancellationToken).ConfigureAwait(false)
            ?? throw new InvalidDataException("The server sent an empty declaration.");
    }

    public async Task<SiloDescription> DrainAsync(string silo, bool draining, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(draining ? HttpMethod.Post : HttpMethod.Delete, $"admin/silos/{Uri.EscapeDataString(silo)}/drain");
        using HttpResponseMessage response = await _http.SendAsync(request, cancellationToken).ConfigureAwait(false);
        await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
        return await response.Content.ReadFromJsonAsync(WireJson.Default.SiloDescription, cancellationToken).ConfigureAwait(false)
            ?? throw new InvalidDataException("The server sent an empty answer.");
    }

    public bool IsTransient(Exception exception) => exception switch
    {
        HttpRequestException { StatusCode: null or HttpStatusCode.BadGateway or HttpStatusCode.GatewayTimeout } => true,
        TaskCanceledException { InnerException: TimeoutException } => true,
        IOException => true,
        _ => false,
    };

    public ValueTask DisposeAsync()
    {
        _http.Dispose();
        return default;
    }

    private async Task<HttpEventReader> OpenAsync(HttpRequestMessage message, GenerationRequest? request, long from, CancellationToken cancellationToken)
    {
        HttpResponseMessage response = await _http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
        try
        {
            await HttpErrors.ThrowIfFailedAsync(response, cancellationToken).ConfigureAwait(false);
            if (response.Content.Headers.ContentType?.MediaType is { } type and not "text/event-stream")
                throw new InvalidDataException($"The server answered a stream request with {type}.");
            return new HttpEventReader(response, await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false), request, from);
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    private static SessionConnection Connect(string id, HttpEventReader reader) =>
        new(id, reader.ReadAllAsync(), () => reader.Description, reader.DisposeAsync);

    private static string Route(string id) =>
        (id.StartsWith(SessionId.ChatPrefix, StringComparison.Ordinal) ? "v1/chat/completions/" : "v1/completions/") + Uri.EscapeDataString(id);

    private static async Task<JsonDocument> ReadAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using Stream stream = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        return await JsonDocument.ParseAsync(stream, default, cancellationToken).ConfigureAwait(false);
    }

    private static ModelListing ReadModel(JsonElement model) => new(
        model.GetProperty("id").GetString() ?? "",
        model.TryGetProperty("max_model_len", out JsonElement length) && length.ValueKind == JsonValueKind.Number ? length.GetInt32() : null,
        DateTimeOffset.FromUnixTimeSeconds(model.TryGetProperty("created", out JsonElement created) && created.ValueKind == JsonValueKind.Number ? created.GetInt64() : 0));
}
