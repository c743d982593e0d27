using System.Diagnostics;
using Cluster.Contracts;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Replicas;

/// <summary>
/// Metrics of one replica: what only the replica can see. What a client sees (time to first token, between tokens, to the
/// end; finish reasons) is the session's.
/// </summary>
internal sealed class ReplicaRecorder(ClusterMetrics metrics, TimeProvider time, string model, string engine)
{
    private readonly TagList _tags = ClusterMetrics.Tags(model, engine);
    private readonly TagList _queueFullTags = QueueFullTags(model, engine);
    private long _preemptions;

    /// <summary>Tokens generated so far.</summary>
    public long GeneratedTokens { get; private set; }

    /// <summary>Now, as a timestamp.</summary>
    public long Now => time.GetTimestamp();

    /// <summary>Counts a replica's drafts.</summary>
    public SpeculationRecorder Speculation(SpeculativeConfig config) => new(metrics, config, _tags);

    /// <summary>A group was refused because too many sequences wait.</summary>
    public void QueueFull(int sequences) => metrics.AdmissionRejections.Add(sequences, _queueFullTags);

    /// <summary>A step is on its way.</summary>
    public void StepStarted(SchedulerStep step, Scheduler scheduler)
    {
        metrics.IterationTokens.Record(step.TokenCount, _tags);
        long now = Now;
        foreach (ScheduledRows rows in step.RowList)
        {
            if (((ActiveSequence)rows.Sequence).FirstRowAt == 0)
                SequenceStarted((ActiveSequence)rows.Sequence, now);
        }

        if (scheduler.PreemptionCount != _preemptions)
        {
            metrics.Preemptions.Add(Math.Max(0, scheduler.PreemptionCount - _preemptions), _tags);
            _preemptions = scheduler.PreemptionCount;
        }
    }

    /// <summary>A new epoch counts preemptions from 0.</summary>
    public void EpochOpened() => _preemptions = 0;

    /// <summary>A step gave a sequence <paramref name="tokens"/> tokens at <paramref name="now"/>.</summary>
    public void Advanced(ActiveSequence sequence, int tokens, long now)
    {
        if (sequence.Group.Origin.IsDraft)
            return;
        if (tokens > 0)
        {
            GeneratedTokens += tokens;
            metrics.GenerationTokens.Add(tokens, _tags);
            if (sequence.FirstTokenAt == 0)
                FirstToken(sequence, now);
        }

        if (sequence.End is not null && sequence.FirstTokenAt != 0)
        {
            metrics.DecodeTime.Record(Seconds(sequence.FirstTokenAt, now), _tags);
            metrics.InferenceTime.Record(Seconds(sequence.FirstRowAt, now), _tags);
        }
    }

    private void SequenceStarted(ActiveSequence sequence, long now)
    {
        sequence.FirstRowAt = now;
        if (sequence.Group.Origin.IsDraft)
            return;
        metrics.QueueTime.Record(Seconds(sequence.Group.SubmittedAt, now), _tags);
        metrics.PromptTokens.Add(sequence.PromptLength, _tags);
        if (!sequence.BypassCache)
        {
            metrics.PrefixCacheQueries.Add(sequence.PromptLength, _tags);
            metrics.PrefixCacheHits.Add(sequence.CachedTokens, _tags);
        }
    }

    private void FirstToken(ActiveSequence sequence, long now)
    {
        sequence.FirstTokenAt = now;
        metrics.PrefillTime.Record(Seconds(sequence.FirstRowAt, now), _tags);
    }

    private double Seconds(long from, long to) => time.GetElapsedTime(from, to).TotalSeconds;

    private static TagList QueueFullTags(string model, string engine)
    {
        TagList tags = ClusterMetrics.Tags(model, engine);
        tags.Add("reason", "queue_full");
        return tags;
    }
}
