namespace Cluster.Silo.Gateway;

/// <summary>Log lines of the gateway.</summary>
internal static partial class GatewayLog
{
    [LoggerMessage(Level = LogLevel.Error, Message = "Request {RequestId}: {Method} {Path} failed")]
    public static partial void RequestFailed(ILogger logger, string requestId, string method, string path, Exception exception);

    [LoggerMessage(Level = LogLevel.Error, Message = "Request {RequestId}: the stream failed")]
    public static partial void StreamFailed(ILogger logger, string requestId, Exception exception);

    [LoggerMessage(Level = LogLevel.Information, Message = "Request {RequestId}: ignored unknown fields {Fields}")]
    public static partial void UnknownFields(ILogger logger, string requestId, string fields);

    [LoggerMessage(Level = LogLevel.Debug, Message = "Request {RequestId}: session {SessionId}, trace {TraceId}")]
    public static partial void SessionStarted(ILogger logger, string requestId, string sessionId, string traceId);
}
