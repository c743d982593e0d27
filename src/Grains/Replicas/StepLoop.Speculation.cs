using Cluster.Contracts;
using Cluster.Grains.Decoding;
using Cluster.Grains.Scheduling;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Replicas;

/// <summary>Guesses: before a step is scheduled, the sequences that are about to draw a token get a draft, which the step verifies.</summary>
internal sealed partial class StepLoop
{
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromSeconds(1);
    private readonly IProposerFactory _proposers;
    private readonly List<Sequence> _decoding = [];
    private readonly List<AcceptanceEstimate> _estimates = [];
    private DraftController _controller = new();
    private int[] _draftLengths = [];
    private long? _proposalFailedAt;
    private SpeculationRecorder? _speculation;
    private IProposer? _proposer;

    private void OpenSpeculation(SpeculativeConfig? config)
    {
        if (config is null)
            (_proposer, _speculation) = (null, null);
        else if (_speculation?.Config != config)
            (_proposer, _speculation, _controller) = (_proposers.Create(config), _recorder.Speculation(config), new DraftController());
    }

    private async ValueTask<SchedulerStep?> ScheduleAsync(Scheduler scheduler)
    {
        if (_proposer is not null && (_proposalFailedAt is not { } failedAt || _time.GetElapsedTime(failedAt) >= PauseAfterFailure))
            await ProposeAsync(_proposer, scheduler, _speculation!.Config);
        return _scheduler == scheduler ? scheduler.Schedule() : null;
    }

    // A proposer that fails costs speed and nothing else. Beside the rows of a prompt every further row costs its full price: no drafts then.
    private async ValueTask ProposeAsync(IProposer proposer, Scheduler scheduler, SpeculativeConfig config)
    {
        _decoding.Clear();
        if (config.IsFixedLength || scheduler.IsDecodingOnly)
            scheduler.AddDecoding(_decoding);
        if (_decoding.Count == 0)
            return;
        if (_draftLengths.Length < _decoding.Count)
            _draftLengths = new int[_decoding.Count * 2];
        Memory<int> lengths = _draftLengths.AsMemory(0, _decoding.Count);
        lengths.Span.Fill(config.NumSpeculativeTokens);
        try
        {
            if (!proposer.IsFree && !config.IsFixedLength)
                ChooseLengths(lengths.Span);
            long start = _recorder.Now;
            await proposer.ProposeAsync(_decoding, lengths);
            if (!proposer.IsFree)
                NoteDraft(Max(lengths.Span), start);
            else if (!config.IsFixedLength)
                TrimDrafts(lengths.Span);
            _proposalFailedAt = null;
        }
        catch (Exception failure)
        {
            _proposalFailedAt = _recorder.Now;
            LogProposalFailed(_replicaKey, failure.GetType().Name, failure.Message);
        }
    }

    private void NoteDraft(int longest, long start)
    {
        if (longest > 0)
            _controller.DraftTook(longest, _time.GetElapsedTime(start));
    }

    private static int Max(ReadOnlySpan<int> lengths)
    {
        int longest = 0;
        foreach (int length in lengths)
            longest = Math.Max(longest, length);
        return longest;
    }

    private void ChooseLengths(Span<int> lengths)
    {
        _estimates.Clear();
        foreach (Sequence sequence in _decoding)
            _estimates.Add(((ActiveSequence)sequence).Acceptance);
        _controller.Choose(_estimates, lengths);
    }

    private void TrimDrafts(Span<int> lengths)
    {
        for (int i = 0; i < lengths.Length; i++)
            lengths[i] = _decoding[i].Draft.Length;
        ChooseLengths(lengths);
        for (int i = 0; i < lengths.Length; i++)
            _decoding[i].TrimDraft(lengths[i]);
    }

    private void NoteVerified(ActiveSequence sequence, in ScheduledRows rows, Advance advance)
    {
        if (rows.DraftCount == 0 || _speculation is null)
            return;
        _speculation.Verified(rows.DraftCount, advance.Emitted - 1);
        // What came after the end was never compared.
        _controller.Verified(sequence.Acceptance, advance.End is null ? rows.DraftCount : Math.Max(1, advance.Emitted - 1), advance.Emitted - 1);
    }

    // With several steps in flight the time of one says little about its rows.
    private void NoteStep(Flight flight)
    {
        if (_proposer is null || _flights.Count > 1)
            return;
        foreach (ScheduledRows rows in flight.Step.RowList)
        {
            if (rows.Count != 1 + rows.DraftCount)
                return;
        }

        _controller.StepTook(flight.Step.TokenCount, _time.GetElapsedTime(flight.SentAt));
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Replica {Replica} goes on without drafts for a second ({Kind}: {Reason})")]
    private partial void LogProposalFailed(string replica, string kind, string reason);
}
