using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway;

/// <summary>Opens when this silo can serve: its models are read, the silo is active and its shards are announced.</summary>
internal sealed class ServingGate
{
    private readonly TaskCompletionSource _open = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Whether the silo serves.</summary>
    public bool IsOpen => _open.Task.IsCompletedSuccessfully;

    /// <summary>The silo serves from now on.</summary>
    public void Open() => _open.TrySetResult();

    /// <summary>Holds a request until the silo serves, at most <paramref name="patience"/>.</summary>
    /// <exception cref="ApiErrorException">503: still starting.</exception>
    public async Task Wait(TimeSpan patience, TimeProvider time, CancellationToken cancellationToken)
    {
        if (IsOpen)
            return;
        try
        {
            await _open.Task.WaitAsync(patience, time, cancellationToken);
        }
        catch (TimeoutException)
        {
            throw new ApiErrorException(ApiError.NotNow($"The silo is still loading its models (waited {patience.TotalSeconds:0} s).", retryAfterSeconds: 5));
        }
    }
}
