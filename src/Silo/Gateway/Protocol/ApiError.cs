using System.Globalization;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>An error as the API shows it: status and the four members of OpenAI's error object.</summary>
internal sealed record ApiError(int Status, string Message, string Type, string? Param = null, string? Code = null, int RetryAfterSeconds = 0)
{
    /// <summary>Type of everything that is the caller's fault.</summary>
    public const string InvalidRequest = "invalid_request_error";

    private const string ServerError = "server_error";
    private const string Unavailable = "service_unavailable";

    /// <summary>Wrong or missing key.</summary>
    public static ApiError Unauthorized(string message) => new(StatusCodes.Status401Unauthorized, message, "authentication_error", Code: "invalid_api_key");

    /// <summary>No such route.</summary>
    public static ApiError UnknownRoute(string method, string path) =>
        new(StatusCodes.Status404NotFound, $"Unknown route: {method} {path}.", InvalidRequest, Code: "unknown_url");

    /// <summary>Wrong method for a route.</summary>
    public static ApiError MethodNotAllowed(string method, string path) =>
        new(StatusCodes.Status405MethodNotAllowed, $"Method {method} is not allowed for {path}.", InvalidRequest, Code: "method_not_allowed");

    /// <summary>A body beyond the limit.</summary>
    public static ApiError BodyTooLarge(long limit, long actual) => new(
        StatusCodes.Status413PayloadTooLarge,
        string.Create(CultureInfo.InvariantCulture, $"The request body may have at most {limit} bytes, got {actual}{(actual > limit ? "" : " or more")}."),
        InvalidRequest,
        Code: "request_too_large");

    /// <summary>The silo cannot answer now.</summary>
    public static ApiError NotNow(string message, int retryAfterSeconds = 1) =>
        new(StatusCodes.Status503ServiceUnavailable, message, Unavailable, RetryAfterSeconds: retryAfterSeconds);

    /// <summary>The error an exception stands for; unknown exceptions become a 500 that tells nothing of the inside.</summary>
    public static ApiError From(Exception exception) => exception switch
    {
        ApiErrorException known => known.Error,
        RequestRejectedException rejected => From(rejected),
        BadHttpRequestException bad => new ApiError(bad.StatusCode, bad.StatusCode == 408 ? "The request body came too slowly." : "The request is not valid HTTP.", InvalidRequest),
        _ when RetryPolicy.IsTransient(exception) => NotNow("The cluster is recovering from the loss of a silo; try again."),
        _ => new ApiError(StatusCodes.Status500InternalServerError, "Internal error; the log has the details under this answer's x-request-id.", ServerError),
    };

    /// <summary>Writes <c>{"error":{...}}</c>.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteStartObject("error"u8);
        json.WriteString("message"u8, Message);
        json.WriteString("type"u8, Type);
        json.WriteString("param"u8, Param);
        json.WriteString("code"u8, Code);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static ApiError From(RequestRejectedException rejected) => rejected.Reason switch
    {
        RejectionReason.ModelNotFound => new(404, rejected.Message, InvalidRequest, rejected.Parameter ?? "model", "model_not_found"),
        RejectionReason.SessionNotFound => new(404, rejected.Message, InvalidRequest, rejected.Parameter, "session_not_found"),
        RejectionReason.SessionCancelled => new(410, rejected.Message, InvalidRequest, rejected.Parameter, "session_cancelled"),
        RejectionReason.ModelChanged => new(409, rejected.Message, InvalidRequest, rejected.Parameter, "model_changed"),
        RejectionReason.ContextLengthExceeded => new(400, rejected.Message, InvalidRequest, rejected.Parameter, "context_length_exceeded"),
        RejectionReason.Overloaded => new(503, rejected.Message, Unavailable, rejected.Parameter, "overloaded", Math.Max(1, rejected.RetryAfterSeconds)),
        _ => new(400, rejected.Message, InvalidRequest, rejected.Parameter),
    };
}

/// <summary>Carries an <see cref="ApiError"/> out of an endpoint.</summary>
internal sealed class ApiErrorException(ApiError error) : Exception(error.Message)
{
    /// <summary>The error.</summary>
    public ApiError Error { get; } = error;
}
