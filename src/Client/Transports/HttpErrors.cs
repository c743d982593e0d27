using System.Net;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>Turns OpenAI error bodies into the typed errors of the contracts.</summary>
internal static class HttpErrors
{
    /// <summary>Throws what <paramref name="response"/> says, unless it is a success.</summary>
    public static async Task ThrowIfFailedAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        if (response.IsSuccessStatusCode)
            return;
        string body = await response.Content.ReadAsStringAsync(cancellationToken).ConfigureAwait(false);
        throw Create(response.StatusCode, body, response.Headers.RetryAfter?.Delta);
    }

    /// <summary>The exception for a status and body.</summary>
    public static Exception Create(HttpStatusCode status, string body, TimeSpan? retryAfter)
    {
        (string? message, string? parameter, string? code) = Parse(body);
        message ??= $"HTTP {(int)status} without an error object.";
        int seconds = (int)Math.Ceiling(retryAfter?.TotalSeconds ?? 1);
        return status switch
        {
            HttpStatusCode.BadRequest or HttpStatusCode.UnprocessableEntity or HttpStatusCode.RequestEntityTooLarge or HttpStatusCode.NotFound
                or HttpStatusCode.Conflict or HttpStatusCode.Gone => new RequestRejectedException(ReasonOf(code, status), message, parameter),
            HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable => new RequestRejectedException(RejectionReason.Overloaded, message, parameter, seconds),
            HttpStatusCode.InternalServerError => new ServerFailureException(message),
            _ => new HttpRequestException(message, null, status),
        };
    }

    /// <summary>The exception for an error event inside a stream.</summary>
    public static Exception FromEvent(JsonElement error)
    {
        string message = Text(error, "message") ?? "The stream failed without a message.";
        return Text(error, "type") switch
        {
            "invalid_request_error" => new RequestRejectedException(ReasonOf(Text(error, "code"), HttpStatusCode.BadRequest), message, Text(error, "param")),
            "service_unavailable" => new IOException(message),
            _ => new ServerFailureException(message),
        };
    }

    private static RejectionReason ReasonOf(string? code, HttpStatusCode status) => (code, status) switch
    {
        ("context_length_exceeded", _) => RejectionReason.ContextLengthExceeded,
        ("model_not_found", _) => RejectionReason.ModelNotFound,
        ("session_cancelled", _) or (_, HttpStatusCode.Gone) => RejectionReason.SessionCancelled,
        ("model_changed", _) or (_, HttpStatusCode.Conflict) => RejectionReason.ModelChanged,
        ("session_not_found", _) or (_, HttpStatusCode.NotFound) => RejectionReason.SessionNotFound,
        _ => RejectionReason.InvalidRequest,
    };

    private static (string? Message, string? Parameter, string? Code) Parse(string body)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(body);
            if (document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty("error", out JsonElement error))
            {
                return error.ValueKind == JsonValueKind.String
                    ? (error.GetString(), null, null)
                    : (Text(error, "message"), Text(error, "param"), Text(error, "code"));
            }
        }
        catch (JsonException)
        {
            // A proxy's page, not ours.
        }
        string text = body.Trim();
        return (text.Length is > 0 and <= 300 ? text : null, null, null);
    }

    private static string? Text(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value)
            ? value.ValueKind switch { JsonValueKind.String => value.GetString(), JsonValueKind.Number => value.GetRawText(), _ => null }
            : null;
}
