using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Tests.Replicas;

/// <summary>Groups to submit, and what came of them.</summary>
internal static class Groups
{
    public static readonly SamplingOptions Greedy = new() { Temperature = 0, TopK = 0, TopP = 1, MinP = 0, RepetitionPenalty = 1 };

    public static SequenceStart Start(int[] prompt, int maxTokens, int choice = 0, int[]? generated = null, bool scored = false) => new()
    {
        Choice = choice,
        Prompt = [.. prompt],
        Generated = [.. generated ?? []],
        MaxTokens = maxTokens,
        ReportPromptLogprobs = scored,
    };

    public static SequenceGroup Group(string session, params SequenceStart[] sequences) => new()
    {
        SessionId = session,
        Priority = 0,
        AcceptedAt = 0,
        Sampling = Greedy,
        Seed = 7,
        StopTokens = [],
        MinTokens = 0,
        TopLogprobs = -1,
        PromptTopLogprobs = -1,
        Sequences = [.. sequences],
    };

    public static int[] Prompt(int length, int seed = 0) => [.. Enumerable.Range(0, length).Select(i => ((seed * 37) + (i * 11) + 3) % 97)];

    /// <summary>Reads a group to its end; index of the result = choice.</summary>
    public static async Task<Dictionary<int, Answer>> RunAsync(ITargetReplicaGrain replica, SequenceGroup group, CancellationToken cancellationToken = default)
    {
        var answers = new Dictionary<int, Answer>();
        await foreach (SequenceProgress progress in replica.Generate(group, cancellationToken))
        {
            if (!answers.TryGetValue(progress.Choice, out Answer? answer))
                answers.Add(progress.Choice, answer = new Answer());
            int given = group.Sequences.Single(sequence => sequence.Choice == progress.Choice).Generated.Length;
            Assert.Equal(given + answer.Tokens.Count, progress.FirstIndex);
            Assert.Null(answer.End);
            answer.Add(progress);
        }

        Assert.Equal(group.Sequences.Length, answers.Count);
        Assert.All(answers.Values, answer => Assert.NotNull(answer.End));
        return answers;
    }
}

/// <summary>What came of one sequence.</summary>
internal sealed class Answer
{
    public List<GeneratedToken> Tokens { get; } = [];

    public int[] Ids => [.. Tokens.Select(token => token.Token)];

    public ImmutableArray<ScoredToken> PromptLogprobs { get; private set; } = [];

    public int CachedTokens { get; private set; }

    public SequenceEnd? End { get; private set; }

    public void Add(SequenceProgress progress)
    {
        Tokens.AddRange(progress.Tokens);
        CachedTokens += progress.CachedTokens;
        if (!progress.PromptLogprobs.IsEmpty)
            PromptLogprobs = PromptLogprobs.IsEmpty ? progress.PromptLogprobs : throw new InvalidOperationException("Prompt log-probabilities came twice.");
        End = progress.End;
    }
}
