using System.Buffers;
using System.IO.Pipelines;
using Cluster.Contracts;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>
/// Answers with server-sent events. The headers leave with the first event, so that overload is a real 503, or with the first
/// ping of a stream that waits long; a stream that fails later ends with an error event and a cut connection, never with a
/// clean end (invariant 2).
/// </summary>
internal sealed class StreamAnswer(
    ISessionAccess access, RetryPolicy retry, GatewaySettings settings, TimeProvider time, ILogger<StreamAnswer> logger)
{
    // Many ready events share a flush, up to this many bytes.
    private const long FlushBytes = 16 << 10;

    // Lets the error event out before the connection is reset (measured: clients then see the message and the failure).
    private static readonly TimeSpan PauseBeforeAbort = TimeSpan.FromMilliseconds(20);

    /// <summary>Streams the session's events after <paramref name="startingAfter"/> (-1 = all).</summary>
    public async Task Run(HttpContext context, SessionDescription session, string owner, long startingAfter, CancellationToken cancellationToken)
    {
        PipeWriter output = context.Response.BodyWriter;
        using var chunks = ChunkWriter.For(session, output);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        // From the start: a chunk's extras depend on the events before it.
        IAsyncEnumerator<SessionEvent> events = new SessionReader(access, retry).Read(session.Id, owner, 0, ended.Token).GetAsyncEnumerator(ended.Token);
        try
        {
            bool more = await First(context, events, ended);
            Start(context);
            while (more)
            {
                if (chunks.NeedsPromptLogprobs(events.Current))
                    chunks.Session = await access.Describe(session.Id, owner, ended.Token);
                chunks.Write(events.Current, present: events.Current.SequenceNumber > startingAfter);
                more = await Next(events, output, ended);
            }
            chunks.WriteDone();
            await output.FlushAsync(ended.Token);
        }
        catch (Exception exception) when (context.Response.HasStarted || output.UnflushedBytes > 0)
        {
            await Fail(context, chunks, exception);
        }
        finally
        {
            await ended.CancelAsync();
            await events.DisposeAsync();
        }
    }

    /// <summary>Waits for the first event; comments keep clients and proxies from giving up a connection that says nothing.</summary>
    private async ValueTask<bool> First(HttpContext context, IAsyncEnumerator<SessionEvent> events, CancellationTokenSource ended)
    {
        ValueTask<bool> next = events.MoveNextAsync();
        if (next.IsCompleted || settings.PingInterval <= TimeSpan.Zero)
            return await next;
        Task<bool> first = next.AsTask();
        using var timer = new PeriodicTimer(settings.PingInterval, time);
        while (await Task.WhenAny(first, timer.WaitForNextTickAsync(ended.Token).AsTask()) != first && !ended.IsCancellationRequested)
        {
            Start(context);
            context.Response.BodyWriter.Write(": ping\n\n"u8);
            await Flush(new ValueTask<bool>(first), context.Response.BodyWriter, ended);
        }
        return await first;
    }

    private static void Start(HttpContext context)
    {
        if (context.Response.HasStarted)
            return;
        context.Response.StatusCode = StatusCodes.Status200OK;
        context.Response.ContentType = "text/event-stream; charset=utf-8";
        context.Response.Headers.CacheControl = "no-cache";
        // Reverse proxies such as nginx buffer answers unless told otherwise.
        context.Response.Headers["X-Accel-Buffering"] = "no";
    }

    /// <summary>Moves on; what is written leaves at once when the next event is not there yet.</summary>
    private static async ValueTask<bool> Next(IAsyncEnumerator<SessionEvent> events, PipeWriter output, CancellationTokenSource ended)
    {
        ValueTask<bool> next = events.MoveNextAsync();
        if (!next.IsCompleted || output.UnflushedBytes >= FlushBytes)
            await Flush(next, output, ended);
        return await next;
    }

    private static async ValueTask Flush(ValueTask<bool> next, PipeWriter output, CancellationTokenSource ended)
    {
        try
        {
            FlushResult flushed = await output.FlushAsync(ended.Token);
            if (flushed.IsCompleted || flushed.IsCanceled)
                throw new OperationCanceledException("The client has gone.");
        }
        catch
        {
            // The enumerator may be disposed only when its pending step is over.
            await ended.CancelAsync();
            await Settle(next);
            throw;
        }
    }

    private static async ValueTask Settle(ValueTask<bool> next)
    {
        try
        {
            await next;
        }
        catch (Exception)
        {
            // The stream has already failed; this is its echo.
        }
    }

    private async Task Fail(HttpContext context, ChunkWriter chunks, Exception exception)
    {
        if (!context.RequestAborted.IsCancellationRequested)
        {
            ApiError error = exception is OperationCanceledException
                ? ApiError.NotNow("The silo is shutting down; resume the session by its id.")
                : ApiError.From(exception);
            if (error.Status == StatusCodes.Status500InternalServerError)
                GatewayLog.StreamFailed(logger, context.Response.Headers[RequestGuard.RequestIdHeader].ToString(), exception);
            await TryWriteError(context, chunks, error);
        }
        context.Abort();
    }

    private async Task TryWriteError(HttpContext context, ChunkWriter chunks, ApiError error)
    {
        try
        {
            chunks.WriteError(error);
            await context.Response.BodyWriter.FlushAsync(context.RequestAborted);
            await Task.Delay(PauseBeforeAbort, time, context.RequestAborted);
        }
        catch (Exception exception) when (exception is OperationCanceledException or IOException or InvalidOperationException)
        {
            // The client has gone: nobody is left to be told.
        }
    }
}
