using System.Security.Cryptography;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway;

/// <summary>
/// Outermost step of every request: gives it an id, checks its key, and turns whatever goes wrong into the API's error
/// object.
/// </summary>
internal sealed class RequestGuard(RequestDelegate next, ApiKeys keys, ILogger<RequestGuard> logger)
{
    /// <summary>Header that names a request, in both directions.</summary>
    public const string RequestIdHeader = "x-request-id";

    private const int LongestRequestId = 128;

    /// <summary>The id the caller gave, or null.</summary>
    public static string? GivenRequestId(HttpContext context)
    {
        string given = context.Request.Headers[RequestIdHeader].ToString();
        return given.Length is > 0 and <= LongestRequestId && given.All(c => c is > ' ' and < '\x7F') ? given : null;
    }

    /// <summary>Runs a request.</summary>
    public async Task InvokeAsync(HttpContext context)
    {
        string requestId = GivenRequestId(context) ?? RandomNumberGenerator.GetHexString(32, lowercase: true);
        context.Response.Headers[RequestIdHeader] = requestId;
        try
        {
            keys.Check(context);
            await next(context);
            await ExplainEmptyAnswer(context);
        }
        catch (Exception) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody is left to be answered.
        }
        catch (Exception exception) when (!context.Response.HasStarted)
        {
            await Answer(context, requestId, exception);
        }
    }

    private async Task Answer(HttpContext context, string requestId, Exception exception)
    {
        ApiError error = exception is OperationCanceledException
            ? ApiError.NotNow("The silo is shutting down.")
            : ApiError.From(exception);
        if (error.Status == StatusCodes.Status500InternalServerError)
            GatewayLog.RequestFailed(logger, requestId, context.Request.Method, context.Request.Path, exception);
        await JsonText.Respond(context, error);
    }

    /// <summary>Routing answers unknown routes and wrong methods with a bare status.</summary>
    private static Task ExplainEmptyAnswer(HttpContext context)
    {
        if (context.Response.HasStarted || context.Response.ContentType is not null)
            return Task.CompletedTask;
        return context.Response.StatusCode switch
        {
            StatusCodes.Status404NotFound => JsonText.Respond(context, ApiError.UnknownRoute(context.Request.Method, context.Request.Path)),
            StatusCodes.Status405MethodNotAllowed => JsonText.Respond(context, ApiError.MethodNotAllowed(context.Request.Method, context.Request.Path)),
            _ => Task.CompletedTask,
        };
    }
}
