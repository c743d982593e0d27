namespace Cluster.Contracts;

/// <summary>Why a request is refused.</summary>
[GenerateSerializer, Alias("Cluster.RejectionReason")]
public enum RejectionReason
{
    /// <summary>A field is wrong (HTTP 400).</summary>
    InvalidRequest = 0,

    /// <summary>No such model (HTTP 404, code model_not_found).</summary>
    ModelNotFound = 1,

    /// <summary>No such session of this owner (HTTP 404).</summary>
    SessionNotFound = 2,

    /// <summary>Queue full or no replica ready in time (HTTP 503 with Retry-After).</summary>
    Overloaded = 3,

    /// <summary>Prompt and limits exceed the model's context (HTTP 400, code context_length_exceeded).</summary>
    ContextLengthExceeded = 4,

    /// <summary>The session was cancelled (HTTP 410).</summary>
    SessionCancelled = 5,

    /// <summary>The session was made with another model under the same name (HTTP 409).</summary>
    ModelChanged = 6,
}

/// <summary>The caller's fault, or overload: refused before any work, with field, limit and actual value in the message.</summary>
[GenerateSerializer, Alias("Cluster.RequestRejectedException")]
public sealed class RequestRejectedException : Exception
{
    /// <summary>Makes a refusal.</summary>
    /// <param name="reason">Typed reason.</param>
    /// <param name="message">What is wrong, with limit and actual value.</param>
    /// <param name="parameter">Field of the request, as spelled on the wire, or null.</param>
    /// <param name="retryAfterSeconds">When to try again (overload), or 0.</param>
    public RequestRejectedException(RejectionReason reason, string message, string? parameter = null, int retryAfterSeconds = 0)
        : base(message)
    {
        Reason = reason;
        Parameter = parameter;
        RetryAfterSeconds = retryAfterSeconds;
    }

    /// <summary>Typed reason.</summary>
    [Id(0)] public RejectionReason Reason { get; private set; }

    /// <summary>Field of the request, or null.</summary>
    [Id(1)] public string? Parameter { get; private set; }

    /// <summary>Seconds to wait before a retry, or 0.</summary>
    [Id(2)] public int RetryAfterSeconds { get; private set; }
}
