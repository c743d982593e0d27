using System.Runtime.CompilerServices;
using Cluster.Client.Transports;
using Cluster.Contracts;

namespace Cluster.Client;

/// <summary>
/// One request's life in the cluster. Keep <see cref="Id"/> and the last sequence number, and any client with the same key
/// can go on from there: after a crash of this process, of the connection or of a silo. Generation runs while somebody
/// reads (or always, with <see cref="GenerationRequest.Background"/>); disposing detaches, it does not cancel.
/// </summary>
public sealed class InferenceSession : IAsyncDisposable
{
    private readonly ISessionTransport _transport;
    private readonly InferenceClientOptions _options;
    private SessionConnection? _first;
    private SessionDescription? _description;

    internal InferenceSession(ISessionTransport transport, InferenceClientOptions options, string id, SessionConnection? first)
    {
        (_transport, _options, Id, _first) = (transport, options, id, first);
        _description = first?.Description;
    }

    /// <summary>Unguessable id of the session: <c>cmpl-</c> or <c>chatcmpl-</c> and 128 random bits.</summary>
    public string Id { get; }

    /// <summary>
    /// Streams the events after <paramref name="afterSequenceNumber"/>, each exactly once, past ones first. A lost
    /// connection or silo is taken up again behind the scenes. Ends after the usage event.
    /// </summary>
    /// <param name="afterSequenceNumber">Last sequence number already seen; -1 = from the start.</param>
    /// <param name="cancellationToken">Detaches; the session pauses and can be resumed.</param>
    /// <exception cref="RequestRejectedException">No such session of this key, or it was cancelled.</exception>
    /// <exception cref="StreamInterruptedException">No progress within <see cref="InferenceClientOptions.ReconnectTimeout"/>.</exception>
    public async IAsyncEnumerable<SessionEvent> StreamAsync(
        long afterSequenceNumber = -1, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(afterSequenceNumber, -1);
        var reader = new ResumingReader(_transport, _options, Id, afterSequenceNumber + 1, cancellationToken)
        {
            Connection = afterSequenceNumber == -1 ? Interlocked.Exchange(ref _first, null) : null,
        };
        await using (reader)
        {
            while (await reader.ReadAsync().ConfigureAwait(false) is { } sessionEvent)
            {
                _description = reader.Description ?? _description;
                yield return sessionEvent;
            }
        }
    }

    /// <summary>Reads the session from its first event to its end.</summary>
    /// <inheritdoc cref="StreamAsync" path="/exception"/>
    public async Task<GenerationResult> CompleteAsync(CancellationToken cancellationToken = default)
    {
        var result = new GenerationResultBuilder();
        await foreach (SessionEvent sessionEvent in StreamAsync(-1, cancellationToken).ConfigureAwait(false))
            result.Add(sessionEvent);
        SessionDescription description = await DescribeAsync(cancellationToken).ConfigureAwait(false);
        if (description.Presentation.Echo)
            description = description with { Prompts = [.. await Task.WhenAll(description.Prompts.Select(prompt => WithTextAsync(description.Model, prompt, cancellationToken))).ConfigureAwait(false)] };
        return result.Build(description);
    }

    /// <summary>
    /// What the cluster accepted: prompts as token ids, the seed in use, the model's fingerprint. Over HTTP this is what the
    /// stream has told so far.
    /// </summary>
    /// <exception cref="InvalidOperationException">Over HTTP, before the first event.</exception>
    public async Task<SessionDescription> DescribeAsync(CancellationToken cancellationToken = default)
    {
        var budget = new RetryBudget(_transport, _options.TimeProvider, _options.ReconnectTimeout);
        SessionDescription? described = await budget.RunAsync(() => _transport.DescribeAsync(Id, cancellationToken), accepted: true, cancellationToken).ConfigureAwait(false);
        return described ?? _description
            ?? throw new InvalidOperationException($"Session {Id} is described by its stream over {_transport.Name}; read an event first.");
    }

    /// <summary>Ends the session and forgets it. True if there was one.</summary>
    public async Task<bool> CancelAsync(CancellationToken cancellationToken = default)
    {
        await DisposeAsync().ConfigureAwait(false);
        var budget = new RetryBudget(_transport, _options.TimeProvider, _options.ReconnectTimeout);
        return await budget.RunAsync(() => _transport.CancelAsync(Id, cancellationToken), accepted: true, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>A prompt given as token ids has no text yet over HTTP.</summary>
    private async Task<PromptDescription> WithTextAsync(string model, PromptDescription prompt, CancellationToken cancellationToken) =>
        prompt.Text.Length > 0 || prompt.TokenIds.IsEmpty || _transport is not HttpSessionTransport
            ? prompt
            : prompt with { Text = await _transport.DetokenizeAsync(model, prompt.TokenIds, cancellationToken).ConfigureAwait(false) };

    /// <summary>Detaches.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _first, null) is { } connection)
            await connection.DisposeAsync().ConfigureAwait(false);
    }
}
