using System.Collections.Immutable;
using System.Diagnostics;
using Cluster.Contracts;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Sessions;

/// <summary>What one session tells meters and traces. A span covers each run of the session (one, unless it pauses).</summary>
internal sealed class SessionTelemetry(ClusterMetrics metrics, AcceptRecord accepted, TimeProvider time, bool isNew)
{
    private readonly long _start = time.GetTimestamp();
    private readonly long[] _lastToken = new long[accepted.ChoiceCount];
    private long _firstToken;
    private TagList _tags;
    private Activity? _span;

    /// <summary>A session was accepted.</summary>
    public void Accepted()
    {
        TagList tags = ClusterMetrics.Tags(accepted.Request.Model, "0");
        metrics.RequestChoices.Record(accepted.Request.Choices, tags);
        for (int prompt = 0; prompt < accepted.Prompts.Length; prompt++)
        {
            metrics.RequestPromptTokens.Record(accepted.Prompts[prompt].TokenIds.Length, tags);
            metrics.RequestMaxTokens.Record(accepted.MaxTokens[prompt], tags);
        }
    }

    /// <summary>The session begins to generate, on behalf of whoever started or attached to it.</summary>
    public void BeginRun(ActivityContext parent)
    {
        string operation = accepted.Request.Kind == RequestKind.Chat ? "chat" : "text_completion";
        _span = ClusterMetrics.Activities.CreateActivity($"{operation} {accepted.Request.Model}", ActivityKind.Internal, parent);
        if (_span is null)
            return;
        SamplingOptions sampling = accepted.Request.Sampling;
        _span.SetTag("gen_ai.operation.name", operation)
            .SetTag("gen_ai.provider.name", "cluster")
            .SetTag("gen_ai.request.model", accepted.Request.Model)
            .SetTag("gen_ai.request.temperature", sampling.Temperature)
            .SetTag("gen_ai.request.top_p", sampling.TopP)
            .SetTag("gen_ai.request.top_k", sampling.TopK)
            .SetTag("gen_ai.request.frequency_penalty", sampling.FrequencyPenalty)
            .SetTag("gen_ai.request.presence_penalty", sampling.PresencePenalty)
            .SetTag("gen_ai.request.seed", sampling.Seed)
            .SetTag("gen_ai.request.max_tokens", accepted.MaxTokens.Max())
            .SetTag("gen_ai.request.choice.count", accepted.Request.Choices)
            .SetTag("gen_ai.response.id", accepted.SessionId)
            .SetTag("gen_ai.response.model", accepted.Request.Model);
        if (accepted.Request.Stop.Strings.Length > 0)
            _span.SetTag("gen_ai.request.stop_sequences", accepted.Request.Stop.Strings.ToArray());
        _span.Start();
    }

    /// <summary>The run goes to a replica.</summary>
    public void Submitted(string replicaKey)
    {
        _tags = ClusterMetrics.Tags(accepted.Request.Model, replicaKey[(replicaKey.LastIndexOf('/') + 1)..]);
        Array.Clear(_lastToken);
    }

    /// <summary>New tokens of a choice came.</summary>
    public void Tokens(SequenceProgress progress, int count)
    {
        long now = time.GetTimestamp();
        if (_firstToken == 0)
        {
            _firstToken = now;
            if (isNew)
                metrics.TimeToFirstToken.Record(time.GetElapsedTime(_start, now).TotalSeconds, _tags);
        }

        ref long last = ref _lastToken[progress.Choice];
        if (last != 0)
            metrics.InterTokenLatency.Record(time.GetElapsedTime(last, now).TotalSeconds / count, _tags);
        last = now;
    }

    /// <summary>All choices ended.</summary>
    public void Finished(SessionTranscript transcript)
    {
        long now = time.GetTimestamp();
        foreach (ChoiceTranscript choice in transcript.Choices)
        {
            TagList tags = _tags;
            tags.Add("finished_reason", ReasonOf(choice));
            metrics.RequestSuccess.Add(1, tags);
            metrics.RequestGenerationTokens.Record(choice.Count, _tags);
        }

        int longest = transcript.Choices.Max(choice => choice.Count);
        metrics.RequestMaxGenerationTokens.Record(longest, _tags);
        if (isNew)
            metrics.EndToEndLatency.Record(time.GetElapsedTime(_start, now).TotalSeconds, _tags);
        if (isNew && longest > 1)
            metrics.TimePerOutputToken.Record(time.GetElapsedTime(_firstToken, now).TotalSeconds / (longest - 1), _tags);
    }

    /// <summary>The run ended: the session finished, paused, was cancelled or failed.</summary>
    public void EndRun(SessionTranscript transcript, Exception? failure)
    {
        if (_span is null)
            return;
        if (transcript.IsComplete)
            _span.SetTag("gen_ai.response.finish_reasons", transcript.Choices.Select(ReasonOf).ToArray());
        if (failure is not null)
            _span.SetTag("error.type", failure.GetType().Name).SetStatus(ActivityStatusCode.Error, failure.Message);
        if (isNew && _firstToken != 0)
            _span.SetTag("gen_ai.response.time_to_first_chunk", time.GetElapsedTime(_start, _firstToken).TotalSeconds);
        _span.SetTag("gen_ai.usage.input_tokens", accepted.Prompts.Sum(prompt => prompt.TokenIds.Length))
            .SetTag("gen_ai.usage.output_tokens", transcript.TokenCount)
            .SetTag("gen_ai.usage.cache_read.input_tokens", transcript.CachedTokens.Sum(tokens => tokens ?? 0));
        _span.Dispose();
        _span = null;
    }

    private static string ReasonOf(ChoiceTranscript choice) => choice.End == ChoiceEnd.Length ? "length" : "stop";
}
