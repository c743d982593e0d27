using System.Buffers;
using System.IO.Pipelines;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway;

/// <summary>
/// Reads a request body up to a limit. A larger one is read on and thrown away for a while, because a client that is
/// still sending does not see an answer before its connection is reset.
/// </summary>
internal static class BodyReader
{
    private static readonly TimeSpan PatienceWithLargeBodies = TimeSpan.FromSeconds(10);

    /// <summary>The whole body.</summary>
    /// <exception cref="ApiErrorException">413.</exception>
    public static async Task<ReadOnlyMemory<byte>> Read(HttpContext context, long limit, TimeProvider time)
    {
        long announced = context.Request.ContentLength ?? 0;
        if (announced > limit)
        {
            await Discard(context, time);
            throw new ApiErrorException(ApiError.BodyTooLarge(limit, announced));
        }
        PipeReader reader = context.Request.BodyReader;
        while (true)
        {
            ReadResult result = await reader.ReadAsync(context.RequestAborted);
            long length = result.Buffer.Length;
            if (length > limit)
            {
                reader.AdvanceTo(result.Buffer.End);
                await Discard(context, time);
                throw new ApiErrorException(ApiError.BodyTooLarge(limit, length));
            }
            if (result.IsCompleted)
            {
                byte[] body = result.Buffer.ToArray();
                reader.AdvanceTo(result.Buffer.End);
                return body;
            }
            reader.AdvanceTo(result.Buffer.Start, result.Buffer.End);
        }
    }

    private static async Task Discard(HttpContext context, TimeProvider time)
    {
        // A client that waits for "100 Continue" has not sent anything and will not.
        if (context.Request.Headers.Expect.Count > 0)
            return;
        using var patience = new CancellationTokenSource(PatienceWithLargeBodies, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, context.RequestAborted);
        try
        {
            PipeReader reader = context.Request.BodyReader;
            ReadResult result;
            do
            {
                result = await reader.ReadAsync(either.Token);
                reader.AdvanceTo(result.Buffer.End);
            }
            while (!result.IsCompleted);
        }
        catch (OperationCanceledException) when (!context.RequestAborted.IsCancellationRequested)
        {
            // Enough: the answer is the same.
        }
    }
}
