using System.Collections.Immutable;
using System.Diagnostics;
using Cluster.Contracts;

namespace Cluster.Grains.Replicas;

/// <summary>Counts what became of a replica's drafts, under vLLM's metric names.</summary>
internal sealed class SpeculationRecorder(ClusterMetrics metrics, SpeculativeConfig config, TagList tags)
{
    private readonly long[] _accepted = new long[config.NumSpeculativeTokens];
    private readonly TagList[] _positionTags = [.. Enumerable.Range(0, config.NumSpeculativeTokens).Select(position => At(tags, position))];
    private long _drafts;
    private long _draftTokens;

    /// <summary>What is counted.</summary>
    public SpeculativeConfig Config => config;

    /// <summary>A draft of so many tokens was verified, and the first <paramref name="accepted"/> of them were right.</summary>
    public void Verified(int tokens, int accepted)
    {
        _drafts++;
        _draftTokens += tokens;
        metrics.SpecDecodeDrafts.Add(1, tags);
        metrics.SpecDecodeDraftTokens.Add(tokens, tags);
        if (accepted > 0)
            metrics.SpecDecodeAcceptedTokens.Add(accepted, tags);
        for (int position = 0; position < accepted; position++)
        {
            _accepted[position]++;
            metrics.SpecDecodeAcceptedTokensPerPosition.Add(1, _positionTags[position]);
        }
    }

    /// <summary>The counts so far.</summary>
    public SpeculationLoad Load() => new() { Drafts = _drafts, DraftTokens = _draftTokens, AcceptedPerPosition = [.. _accepted] };

    private static TagList At(TagList tags, int position)
    {
        tags.Add("position", position);
        return tags;
    }
}
