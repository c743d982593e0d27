using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Delivery;
using Cluster.Grains.Replicas;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Drives a session's live choices to their end: submits them to a replica with all tokens they have, takes what comes,
/// and submits again wherever that fails. Cancelling it frees the sequences within one step.
/// </summary>
internal sealed partial class SessionGeneration(
    SessionTranscript transcript,
    SessionTelemetry telemetry,
    ReplicaSelector replicas,
    Func<string, ITargetReplicaGrain> replicaOf,
    ClusterOptions options,
    TimeProvider time,
    ILogger logger)
{
    // A choice that a stop string ended runs on in the replica; with fewer tokens left than this it is let run.
    private const int SurplusWorthDropping = 16;
    private const int MostUnknownFailures = 5;
    private static readonly TimeSpan ShortestBackoff = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromMilliseconds(250);

    private readonly AcceptRecord _accepted = transcript.Rules.Accepted;
    private readonly HashSet<int> _dropped = [];
    private readonly HashSet<string> _full = new(StringComparer.Ordinal);
    private long _waitingSince = time.GetTimestamp();
    private TimeSpan _backoff = ShortestBackoff;
    private int _unknownFailures;
    private Exception? _lastFailure;

    /// <summary>Called after new tokens or ends were taken, with the number of tokens.</summary>
    public required Action<int> Progressed { get; init; }

    /// <summary>Generates until all choices have ended.</summary>
    /// <exception cref="RequestRejectedException">Nobody can serve the session (in time).</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!transcript.IsComplete)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                ReplicaDescription? replica = await replicas.SelectAsync(_accepted.Request.Model, _accepted.Prompts[0].TokenIds.AsMemory(), _full, cancellationToken);
                if (replica is not null)
                    await ConsumeAsync(replica, cancellationToken);
                else
                    await WithoutReplicaAsync(cancellationToken);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested && Survives(e))
            {
                await BackOffAsync(cancellationToken);
            }
        }
    }

    private async Task ConsumeAsync(ReplicaDescription replica, CancellationToken cancellationToken)
    {
        telemetry.Submitted(replica.Key);
        SequenceGroup group = Group();
        ITargetReplicaGrain target = replicaOf(replica.Key);
        _dropped.Clear();
        try
        {
            await foreach (IReadOnlyList<SequenceProgress> news in GrainStream.ReadAsync<SequenceProgress>(
                inbox => target.Generate(group with { Inbox = inbox }, cancellationToken), cancellationToken))
            {
                Take(news);
                if (transcript.IsComplete)
                    return;
                DropSurplus(target, news);
            }
        }
        catch (RequestRejectedException e) when (e.Reason == RejectionReason.Overloaded)
        {
            _full.Add(replica.Key);
            _lastFailure = e;
            return;
        }

        if (!transcript.IsComplete)
            throw new EnumerationAbortedException($"Replica {replica.Key} ended its stream before all sequences had ended.");
    }

    private void Take(IReadOnlyList<SequenceProgress> news)
    {
        int tokens = 0;
        bool progressed = false;
        foreach (SequenceProgress progress in news)
            progressed |= Take(progress, ref tokens);
        if (!progressed)
            return;
        _waitingSince = time.GetTimestamp();
        _backoff = ShortestBackoff;
        _unknownFailures = 0;
        _full.Clear();
        Progressed(tokens);
    }

    private bool Take(SequenceProgress progress, ref int tokens)
    {
        if ((uint)progress.Choice >= (uint)transcript.Choices.Count)
            return false;
        bool wasLive = IsLive(progress.Choice);
        int added = transcript.Apply(progress);
        if (added > 0)
            telemetry.Tokens(progress, added);
        tokens += added;
        return added > 0 || (wasLive && !IsLive(progress.Choice));
    }

    private bool IsLive(int choice) => transcript.Choices[choice].End == ChoiceEnd.None;

    // The replica does not know stop strings.
    private void DropSurplus(ITargetReplicaGrain replica, IReadOnlyList<SequenceProgress> news)
    {
        if (_accepted.Request.Stop.Strings.IsEmpty)
            return;
        foreach (SequenceProgress progress in news)
        {
            if ((uint)progress.Choice >= (uint)transcript.Choices.Count)
                continue;
            ChoiceTranscript choice = transcript.Choices[progress.Choice];
            if (choice.End == ChoiceEnd.StopString && choice.MaxTokens - choice.Count >= SurplusWorthDropping && _dropped.Add(progress.Choice))
                replica.Drop(_accepted.SessionId, progress.Choice).Ignore();
        }
    }

    private async Task WithoutReplicaAsync(CancellationToken cancellationToken)
    {
        if (_full.Count > 0)
        {
            // Every ready replica refused. What nobody has seen anything of is refused at once.
            if (transcript.TokenCount == 0 && !_accepted.Request.Background)
                throw Overloaded(_lastFailure!.Message);
            _full.Clear();
        }

        await replicas.WakeAsync(_accepted.Request.Model);
        await BackOffAsync(cancellationToken);
    }

    private bool Survives(Exception failure)
    {
        if (failure is RequestRejectedException)
            return false;
        replicas.Invalidate();
        _lastFailure = failure;
        LogFailed(_accepted.SessionId, failure.GetType().Name, failure.Message);
        bool transient = failure is SiloUnavailableException or OrleansMessageRejectionException or TimeoutException or EnumerationAbortedException or ReplicaUnavailableException;
        return transient || ++_unknownFailures < MostUnknownFailures;
    }

    private async Task BackOffAsync(CancellationToken cancellationToken)
    {
        if (!_accepted.Request.Background && time.GetElapsedTime(_waitingSince).TotalSeconds >= options.ModelWait)
            throw Overloaded($"No replica of '{_accepted.Request.Model}' was ready within {options.ModelWait} s (model-wait).{(_lastFailure is null ? "" : " " + _lastFailure.Message)}");
        await Task.Delay(_backoff, time, cancellationToken);
        _backoff = _backoff * 2 < LongestBackoff ? _backoff * 2 : LongestBackoff;
    }

    private static RequestRejectedException Overloaded(string message) =>
        new(RejectionReason.Overloaded, message, retryAfterSeconds: 1);

    private SequenceGroup Group()
    {
        GenerationRequest request = _accepted.Request;
        return new SequenceGroup
        {
            SessionId = _accepted.SessionId,
            Priority = request.Priority,
            AcceptedAt = _accepted.AcceptedAt,
            Sampling = request.Sampling,
            Seed = _accepted.Seed,
            StopTokens = transcript.Rules.StopTokens,
            MinTokens = request.Stop.MinTokens,
            TopLogprobs = request.Logprobs ?? -1,
            PromptTopLogprobs = request.PromptLogprobs ?? -1,
            Sequences = LiveSequences(),
        };
    }

    private ImmutableArray<SequenceStart> LiveSequences()
    {
        ImmutableArray<SequenceStart>.Builder sequences = ImmutableArray.CreateBuilder<SequenceStart>();
        int reported = -1;
        for (int index = 0; index < transcript.Choices.Count; index++)
        {
            ChoiceTranscript choice = transcript.Choices[index];
            if (choice.End != ChoiceEnd.None)
                continue;
            int prompt = _accepted.PromptOf(index);
            bool reports = _accepted.Request.PromptLogprobs is not null && reported != prompt && transcript.PromptScores(prompt).IsEmpty;
            if (reports)
                reported = prompt;
            sequences.Add(new SequenceStart
            {
                Choice = index,
                Prompt = _accepted.Prompts[prompt].TokenIds,
                Generated = choice.Tokens,
                MaxTokens = choice.MaxTokens,
                ReportPromptLogprobs = reports,
            });
        }

        return sequences.ToImmutable();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Session {SessionId} is submitted again after {Kind}: {Reason}")]
    private partial void LogFailed(string sessionId, string kind, string reason);
}
