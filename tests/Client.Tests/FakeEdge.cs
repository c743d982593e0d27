using Microsoft.AspNetCore.Connections.Features;
using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cluster.Client.Tests;

/// <summary>How a stream of the fake ends too early.</summary>
public enum FaultKind
{
    /// <summary>TCP reset.</summary>
    Cut,

    /// <summary>Error event, then reset, as the real edge does.</summary>
    ErrorEvent,

    /// <summary>Clean end without <c>[DONE]</c>.</summary>
    MissingDone,

    /// <summary><c>[DONE]</c> without finish reasons.</summary>
    DoneWithoutFinish,

    /// <summary>503 before the first byte.</summary>
    Overloaded,

    /// <summary>An event is left out.</summary>
    Gap,

    /// <summary>A resume starts over from the first event.</summary>
    Repeat,
}

/// <summary>A fault of one connection after so many events.</summary>
public sealed record Fault(FaultKind Kind, int AfterEvents = 0);

/// <summary>A request as the fake saw it.</summary>
internal sealed record SeenRequest(string Method, string Path, string Query, string? RequestId, string? Authorization, JsonNode? Body);

/// <summary>A small HTTP edge with the wire format of the real one: numbered events, resume, faults on demand.</summary>
internal sealed class FakeEdge : IAsyncDisposable
{
    public const string ModelName = "fake";
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, (JsonNode Body, bool Chat)> _sessions = new();

    private FakeEdge(WebApplication app) => _app = app;

    public string Url { get; private set; } = null!;

    /// <summary>Faults of the next streams, in order; none = whole streams.</summary>
    public ConcurrentQueue<Fault> Faults { get; } = new();

    /// <summary>Fault of every stream, when <see cref="Faults"/> is empty.</summary>
    public Fault? EveryFault { get; set; }

    /// <summary>Everything that came in.</summary>
    public ConcurrentQueue<SeenRequest> Seen { get; } = new();

    /// <summary>Behaves like another server: no numbers, no ids, no resume.</summary>
    public bool Plain { get; set; }

    /// <summary>Tokens generated per choice.</summary>
    public int Tokens { get; set; } = 4;

    /// <summary>Body of GET /admin/gateways; null = 404.</summary>
    public string? Gateways { get; set; }

    /// <summary>Key that is wanted; null = open.</summary>
    public string? ApiKey { get; set; }

    /// <summary>Holds every stream after this many events until the client leaves; -1 = never.</summary>
    public int HoldAfter { get; set; } = -1;

    public static async Task<FakeEdge> StartAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseSetting("urls", "http://127.0.0.1:0");
        WebApplication app = builder.Build();
        var edge = new FakeEdge(app);
        app.Use(edge.Guard);
        app.MapPost("/v1/completions", context => edge.Post(context, chat: false));
        app.MapPost("/v1/chat/completions", context => edge.Post(context, chat: true));
        app.MapGet("/v1/completions/{id}", edge.Attach);
        app.MapGet("/v1/chat/completions/{id}", edge.Attach);
        app.MapDelete("/v1/completions/{id}", edge.Delete);
        app.MapDelete("/v1/chat/completions/{id}", edge.Delete);
        app.MapGet("/v1/models", () => Results.Json(new { @object = "list", data = new[] { new { id = ModelName, @object = "model", created = 1_700_000_000L, max_model_len = 512 } } }));
        app.MapGet("/health/live", () => "ok");
        app.MapGet("/health/ready", () => "ok");
        app.MapGet("/version", () => Results.Json(new { version = "0.1.0" }));
        app.MapPost("/detokenize", () => Results.Json(new { prompt = "prompt text " }));
        app.MapGet("/admin/gateways", () => edge.Gateways is null ? Results.NotFound() : Results.Content(edge.Gateways, "application/json"));
        app.MapGet("/admin/topology", () => Results.Content(TopologyJson, "application/json"));
        await app.StartAsync();
        edge.Url = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        return edge;
    }

    public const string TopologyJson = """
        {"version":3,"silos":[{"name":"silo-a","devices":["cpu:0"],"http_url":"http://127.0.0.1:8000","mesh_endpoint":null,"is_draining":false}],
        "models":[{"name":"fake","path":"/models/fake","fingerprint":"abc","max_model_length":512,"architecture":"llama","has_tokenizer":true,"created":1700000000,"parameters":5000000,"weights":"BF16","query_heads":4,"layers":2}],
        "replicas":[{"key":"fake/0","model":"fake","epoch":7,"shards":[{"key":"fake/0/0","silo":"silo-a","device":"cpu:0","rank":0,"state":"Ready","problem":null}],"load":{"running":2,"waiting":1,"kv_usage":0.25,"blocks":64,"generated_tokens":99,"ready":true,"speculation":{"drafts":8,"draft_tokens":16,"accepted_per_position":[6,2]}}}],
        "declarations":[{"description":{"name":"fake","path":"/models/fake","fingerprint":"abc","max_model_length":512,"architecture":"llama","has_tokenizer":true,"created":1700000000,"parameters":5000000,"weights":"BF16","query_heads":4,"layers":2},
        "layout":{"tensor_parallel_size":2,"pipeline_parallel_size":1},"replicas":1,"dtype":"auto","quantization":"none","kv_cache_dtype":"auto","speculation":null}]}
        """;

    /// <summary>Text of a token of a choice.</summary>
    public static string TextOf(int choice, int token) => $"c{choice}t{token} ";

    /// <summary>Id of a token of a choice.</summary>
    public static int IdOf(int choice, int token) => 100 + (choice * 50) + token;

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task Guard(HttpContext context, RequestDelegate next)
    {
        JsonNode? body = context.Request.ContentLength > 0 ? await JsonNode.ParseAsync(context.Request.Body) : null;
        context.Items["body"] = body;
        string? authorization = context.Request.Headers.Authorization;
        Seen.Enqueue(new SeenRequest(context.Request.Method, context.Request.Path, context.Request.QueryString.Value ?? "", context.Request.Headers["X-Request-Id"], authorization, body));
        if (ApiKey is null || authorization == $"Bearer {ApiKey}" || context.Request.Path.StartsWithSegments("/health"))
            await next(context);
        else
            await WriteErrorAsync(context, 401, "The API key is not valid.", "authentication_error", "invalid_api_key");
    }

    private async Task Post(HttpContext context, bool chat)
    {
        var body = (JsonNode)context.Items["body"]!;
        if ((string?)body["model"] != ModelName)
        {
            await WriteErrorAsync(context, 404, $"The model '{body["model"]}' does not exist.", "invalid_request_error", "model_not_found");
            return;
        }
        // A function of the caller's name of the request: posting it again finds the session.
        string id = (chat ? "chatcmpl-" : "cmpl-") + context.Request.Headers["X-Request-Id"].ToString().Split('-')[^1].PadLeft(32, 'f');
        _sessions[id] = (body, chat);
        await StreamAsync(context, id, body, chat, 0);
    }

    private async Task Attach(HttpContext context)
    {
        string id = (string)context.Request.RouteValues["id"]!;
        if (Plain || !_sessions.TryGetValue(id, out (JsonNode Body, bool Chat) session))
        {
            await WriteErrorAsync(context, 404, $"There is no session '{id}'.", "invalid_request_error", "session_not_found");
            return;
        }
        long after = context.Request.Query.TryGetValue("starting_after", out var value) ? long.Parse(value!, CultureInfo.InvariantCulture) : -1;
        await StreamAsync(context, id, session.Body, session.Chat, (int)after + 1);
    }

    private Task Delete(HttpContext context)
    {
        bool removed = _sessions.TryRemove((string)context.Request.RouteValues["id"]!, out _);
        context.Response.StatusCode = removed ? 200 : 404;
        return Task.CompletedTask;
    }

    private async Task StreamAsync(HttpContext context, string id, JsonNode body, bool chat, int from)
    {
        Fault? fault = Faults.TryDequeue(out Fault? next) ? next : EveryFault;
        if (fault?.Kind == FaultKind.Repeat)
            from = 0;
        if (fault?.Kind == FaultKind.Overloaded)
        {
            context.Response.Headers.RetryAfter = "7";
            await WriteErrorAsync(context, 503, "The queue is full: 1024 requests wait.", "service_unavailable", "overloaded");
            return;
        }
        context.Response.ContentType = "text/event-stream; charset=utf-8";
        await context.Response.Body.FlushAsync();
        List<JsonObject> events = FakeChunks.Of(id, body, chat, Tokens, Plain);
        for (int i = from; i < events.Count; i++)
        {
            if (i == HoldAfter)
                await LeftAsync(context);
            if (fault is not null && i - from == fault.AfterEvents && await FailAsync(context, fault))
                return;
            if (fault is { Kind: FaultKind.Gap } && i - from == fault.AfterEvents)
                continue;
            await WriteAsync(context, events[i].ToJsonString());
        }
        await WriteAsync(context, "[DONE]");
    }

    private static async Task<bool> FailAsync(HttpContext context, Fault fault)
    {
        switch (fault.Kind)
        {
            case FaultKind.Cut:
                await CutAsync(context);
                return true;
            case FaultKind.ErrorEvent:
                await WriteAsync(context, """{"error":{"message":"The replica failed.","type":"server_error","param":null,"code":null}}""");
                await CutAsync(context);
                return true;
            case FaultKind.DoneWithoutFinish:
                await WriteAsync(context, "[DONE]");
                return true;
            case FaultKind.MissingDone:
                return true;
            default:
                return false;
        }
    }

    // Ends the connection in the middle of the body, behind what was written: all of it arrives first. The client then leaves.
    private static async Task CutAsync(HttpContext context)
    {
        await context.Features.GetRequiredFeature<IConnectionTransportFeature>().Transport.Output.CompleteAsync();
        await LeftAsync(context);
    }

    private static async Task LeftAsync(HttpContext context)
    {
        var left = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = context.RequestAborted.Register(left.SetResult);
        await left.Task;
    }

    private static async Task WriteAsync(HttpContext context, string data)
    {
        await context.Response.WriteAsync($"data: {data}\n\n");
        await context.Response.Body.FlushAsync();
    }

    private static Task WriteErrorAsync(HttpContext context, int status, string message, string type, string code)
    {
        context.Response.StatusCode = status;
        return context.Response.WriteAsJsonAsync(new { error = new { message, type, param = (string?)null, code } });
    }
}
