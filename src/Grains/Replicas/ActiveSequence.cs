using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Cluster.Grains.Decoding;
using Cluster.Grains.Scheduling;
using Cluster.Grains.Shards;

namespace Cluster.Grains.Replicas;

/// <summary>A sequence in a replica: what scheduling needs, what shards are told, and the news that the reader has not taken yet.</summary>
internal sealed class ActiveSequence : Sequence
{
    private readonly List<GeneratedToken> _news = [];
    private readonly ScoredToken[] _promptLogprobs;
    private bool _promptLogprobsPending;
    private bool _isFirstReport = true;
    private bool _isEndReported;
    private int _reported;

    /// <summary>A sequence that has not been queued yet.</summary>
    public ActiveSequence(ActiveGroup group, int id, SequenceStart start)
        : base(id, group.Origin.SessionId, start.Prompt.AsSpan(), start.Generated.AsSpan(), start.MaxTokens)
    {
        Group = group;
        Start = start;
        _reported = start.Generated.Length;
        _promptLogprobsPending = start.ReportPromptLogprobs && group.Origin.PromptTopLogprobs >= 0;
        _promptLogprobs = _promptLogprobsPending ? new ScoredToken[start.Prompt.Length - 1] : [];
        BypassCache = _promptLogprobsPending;
        if (start.Generated.Length >= start.MaxTokens && !_promptLogprobsPending)
            End = SequenceEnd.Length;
    }

    /// <summary>The group it belongs to.</summary>
    public ActiveGroup Group { get; }

    /// <summary>Where it started.</summary>
    public SequenceStart Start { get; }

    /// <summary>Why it ended, or null.</summary>
    public SequenceEnd? End { get; private set; }

    /// <summary>Whether there is something that the reader has not taken yet.</summary>
    public bool HasNews => _news.Count > 0 || (End is not null && !_isEndReported);

    /// <summary>Whether it is in its group's list of sequences with news.</summary>
    public bool IsMarked { get; set; }

    /// <summary>Whether its session does not want more of it.</summary>
    public bool IsDropped { get; set; }

    /// <summary>How often guesses of it were right.</summary>
    public AcceptanceEstimate Acceptance { get; } = new();

    /// <summary>Steps that failed with it since its last token.</summary>
    public int Failures { get; set; }

    /// <summary>When it was first scheduled (timestamp), or 0.</summary>
    public long FirstRowAt { get; set; }

    /// <summary>When its first token came (timestamp), or 0.</summary>
    public long FirstTokenAt { get; set; }

    /// <summary>Alternatives per prompt token that the shards must report; -1 once they have.</summary>
    public int PromptTopLogprobs => _promptLogprobsPending ? Group.Origin.PromptTopLogprobs : -1;

    /// <summary>Takes over a step's output after it was committed.</summary>
    /// <returns>Whether there is something to report.</returns>
    public bool Take(in ScheduledRows rows, SequenceOutput output, Advance advance)
    {
        output.PromptLogprobs.AsSpan().CopyTo(_promptLogprobs.AsSpan(Math.Min(rows.ComputedTokens, _promptLogprobs.Length)));
        if (BypassCache && PromptComputed)
            BypassCache = false;
        for (int i = 0; i < advance.Emitted; i++)
            _news.Add(output.Tokens[i]);
        if (advance.Emitted > 0)
            Failures = 0;
        End = advance.End;
        return advance.Emitted > 0 || End is not null;
    }

    /// <summary>All news in one report.</summary>
    public SequenceProgress TakeNews()
    {
        var progress = new SequenceProgress
        {
            Choice = Start.Choice,
            FirstIndex = _reported,
            Tokens = _news.Count == 1 ? [_news[0]] : [.. _news],
            PromptLogprobs = TakePromptLogprobs(),
            End = End,
            CachedTokens = _isFirstReport ? CachedTokens : 0,
        };
        _isFirstReport = false;
        _isEndReported = End is not null;
        _reported += _news.Count;
        _news.Clear();
        return progress;
    }

    /// <summary>The sequence in full, for a shard that does not know it.</summary>
    public NewSequence Describe() => new()
    {
        Id = Id,
        Tokens = [.. Tokens],
        PromptLength = PromptLength,
        Choice = Start.Choice,
        Sampling = Group.Origin.Sampling,
        Seed = Group.Origin.Seed,
        StopTokens = Group.Origin.StopTokens,
        MinTokens = Group.Origin.MinTokens,
        TopLogprobs = Group.Origin.TopLogprobs,
        PromptTopLogprobs = PromptTopLogprobs,
    };

    private ImmutableArray<ScoredToken> TakePromptLogprobs()
    {
        if (!_promptLogprobsPending || !PromptComputed)
            return [];
        _promptLogprobsPending = false;
        return ImmutableCollectionsMarshal.AsImmutableArray(_promptLogprobs);
    }
}
