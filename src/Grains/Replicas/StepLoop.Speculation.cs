using Cluster.Contracts;
using Cluster.Grains.Decoding;
using Cluster.Grains.Scheduling;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Replicas;

/// <summary>Guesses: before a step is scheduled, the sequences that are about to draw a token get a draft, which the step verifies.</summary>
internal sealed partial class StepLoop
{
    private readonly IProposerFactory _proposers;
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromSeconds(1);
    private readonly List<Sequence> _decoding = [];
    private long? _proposalFailedAt;
    private SpeculationRecorder? _speculation;
    private IProposer? _proposer;

    private void OpenSpeculation(SpeculativeConfig? config)
    {
        if (config is null)
            (_proposer, _speculation) = (null, null);
        else if (_speculation?.Config != config)
            (_proposer, _speculation) = (_proposers.Create(config), _recorder.Speculation(config));
    }

    private async ValueTask<SchedulerStep?> ScheduleAsync(Scheduler scheduler)
    {
        if (_proposer is not null && (_proposalFailedAt is not { } failedAt || _time.GetElapsedTime(failedAt) >= PauseAfterFailure))
            await ProposeAsync(_proposer, scheduler, _speculation!.Config.NumSpeculativeTokens);
        return _scheduler == scheduler ? scheduler.Schedule() : null;
    }

    // A proposer that fails costs speed and nothing else.
    private async ValueTask ProposeAsync(IProposer proposer, Scheduler scheduler, int most)
    {
        _decoding.Clear();
        scheduler.AddDecoding(_decoding);
        if (_decoding.Count == 0)
            return;
        try
        {
            await proposer.ProposeAsync(_decoding, most);
            _proposalFailedAt = null;
        }
        catch (Exception failure)
        {
            _proposalFailedAt = _recorder.Now;
            LogProposalFailed(_replicaKey, failure.GetType().Name, failure.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Replica {Replica} goes on without drafts for a second ({Kind}: {Reason})")]
    private partial void LogProposalFailed(string replica, string kind, string reason);
}
