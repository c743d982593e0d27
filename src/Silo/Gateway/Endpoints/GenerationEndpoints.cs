using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>POST of completions and chats; GET (resume) and DELETE (cancel) of their sessions.</summary>
internal sealed class GenerationEndpoints(
    ISessionAccess access,
    RetryPolicy retry,
    StreamAnswer stream,
    UnaryAnswer unary,
    ModelCatalog models,
    DrainGate drain,
    ServingGate serving,
    GatewaySettings settings,
    TimeProvider time,
    ILogger<GenerationEndpoints> logger)
{
    // How a session says that its id belongs to another request.
    private const string RequestIdParameter = "request_id";

    private const int LongestLoggedNames = 200;

    /// <summary>Registers the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        MapKind(routes, RequestKind.Completion, "/v1/completions");
        MapKind(routes, RequestKind.Chat, "/v1/chat/completions");
    }

    private void MapKind(IEndpointRouteBuilder routes, RequestKind kind, string path)
    {
        routes.MapPost(path, context => Drained(context, token => Create(context, kind, token)));
        routes.MapGet(path + "/{id}", context => Drained(context, token => Resume(context, kind, token)));
        routes.MapDelete(path + "/{id}", context => Cancel(context, kind));
    }

    /// <summary>Runs a generation inside the drain gate; the token ends with the client or at the drain's deadline.</summary>
    private async Task Drained(HttpContext context, Func<CancellationToken, Task> generate)
    {
        if (!drain.TryEnter())
            throw new ApiErrorException(ApiError.NotNow("The silo is shutting down.", retryAfterSeconds: 5));
        try
        {
            using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, drain.Deadline);
            await serving.Wait(settings.ModelWait, time, ended.Token);
            await generate(ended.Token);
        }
        finally
        {
            drain.Leave();
        }
    }

    private async Task Create(HttpContext context, RequestKind kind, CancellationToken cancellationToken)
    {
        GenerationCall call = await ReadCall(context, kind);
        string owner = ApiKeys.OwnerOf(context);
        GenerationRequest request = call.Request with { Owner = owner };
        using Activity? span = GenerationSpan.Start(request, call.Stream);
        string requestId = context.Response.Headers[RequestGuard.RequestIdHeader].ToString();
        if (call.UnknownFields.Count > 0)
            GatewayLog.UnknownFields(logger, requestId, Shorten(string.Join(", ", call.UnknownFields)));
        SessionDescription session = await StartSession(request, RequestGuard.GivenRequestId(context), cancellationToken);
        GatewayLog.SessionStarted(logger, requestId, session.Id, span?.TraceId.ToString() ?? "");
        span?.SetTag("gen_ai.response.id", session.Id);
        if (call.Stream)
            await stream.Run(context, session, owner, startingAfter: -1, cancellationToken);
        else
            await unary.Run(context, session, owner, cancellationToken);
    }

    private async Task<SessionDescription> StartSession(GenerationRequest request, string? requestId, CancellationToken cancellationToken)
    {
        try
        {
            string id = SessionIds.For(request.Kind, request.Owner, requestId);
            return await retry.Call(token => access.Start(id, request, token), cancellationToken);
        }
        catch (RequestRejectedException taken) when (requestId is not null && taken.Parameter == RequestIdParameter)
        {
            // Some proxies give many requests one id: only the first of them is found by it.
            string id = SessionId.New(request.Kind);
            return await retry.Call(token => access.Start(id, request, token), cancellationToken);
        }
    }

    private async Task<GenerationCall> ReadCall(HttpContext context, RequestKind kind)
    {
        ReadOnlyMemory<byte> body = await BodyReader.Read(context, settings.MaxBodyBytes, time);
        using JsonDocument document = JsonBody.Parse(body);
        string? defaultModel = DefaultModel.Of(models);
        return kind == RequestKind.Chat
            ? ChatReader.Read(document.RootElement, defaultModel)
            : CompletionReader.Read(document.RootElement, defaultModel);
    }

    private async Task Resume(HttpContext context, RequestKind kind, CancellationToken cancellationToken)
    {
        string owner = ApiKeys.OwnerOf(context);
        bool streamed = QueryFlag(context, "stream");
        long startingAfter = StartingAfter(context);
        string id = SessionIds.Resolve(kind, owner, (string)context.GetRouteValue("id")!);
        SessionDescription session = await retry.Call(token => access.Describe(id, owner, token), cancellationToken);
        if (streamed)
            await stream.Run(context, session, owner, startingAfter, cancellationToken);
        else
            await unary.Run(context, session, owner, cancellationToken);
    }

    private async Task Cancel(HttpContext context, RequestKind kind)
    {
        await serving.Wait(settings.ModelWait, time, context.RequestAborted);
        string owner = ApiKeys.OwnerOf(context);
        string id = SessionIds.Resolve(kind, owner, (string)context.GetRouteValue("id")!);
        if (!await retry.Call(token => access.Cancel(id, owner, token), context.RequestAborted))
            throw new RequestRejectedException(RejectionReason.SessionNotFound, $"The session '{id}' does not exist.", "id");
        await JsonText.Respond(context, StatusCodes.Status200OK, json =>
        {
            json.WriteStartObject();
            json.WriteString("id"u8, id);
            json.WriteString("object"u8, kind == RequestKind.Chat ? "chat.completion.deleted" : "text_completion.deleted");
            json.WriteBoolean("deleted"u8, true);
            json.WriteEndObject();
        });
    }

    // A body may hold a field name of megabytes: the log stays readable.
    private static string Shorten(string names) => names.Length <= LongestLoggedNames ? names : names[..LongestLoggedNames] + "...";

    private static bool QueryFlag(HttpContext context, string name) => context.Request.Query[name].ToString() switch
    {
        "" or "false" or "False" or "0" => false,
        "true" or "True" or "1" => true,
        var other => throw FieldReader.Refuse(name, $"The parameter '{name}' must be true or false, got '{other}'."),
    };

    private static long StartingAfter(HttpContext context)
    {
        string text = context.Request.Query["starting_after"].ToString();
        if (text.Length == 0)
            return -1;
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) && number >= -1
            ? number
            : throw FieldReader.Refuse("starting_after", $"The parameter 'starting_after' must be a sequence number (from -1), got '{text}'.");
    }
}

/// <summary>The model that answers when a request names none.</summary>
internal static class DefaultModel
{
    /// <summary>The only served model, or null when there are none or several.</summary>
    public static string? Of(ModelCatalog models) => models.All is [var only] ? only.Description.Name : null;
}
