using Cluster.Kernels.Execution;
using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Tests.Sampling;

/// <summary>Draws follow softmax, and those of different positions, choices and seeds are independent. Seeds are fixed: the tests cannot flicker.</summary>
public sealed class DistributionTests
{
    private const int Draws = 40_000;
    private static readonly float[] Logits = [1.5f, 0.2f, -0.7f, 2.1f, 0.9f, -2f, 1.1f, 0f];

    [Theory]
    [InlineData(1f)]
    [InlineData(0.5f)]
    [InlineData(1.7f)]
    public void Draws_over_positions_follow_softmax(float temperature) => CheckFollowsSoftmax(Logits, temperature, i => (7, 0, i));

    [Fact]
    public void Draws_over_choices_follow_softmax() => CheckFollowsSoftmax(Logits, 1, i => (7, i, 12));

    [Fact]
    public void Draws_over_seeds_follow_softmax() => CheckFollowsSoftmax(Logits, 1, i => ((ulong)i, 0, 12));

    [Fact]
    public void Draws_from_a_whole_vocabulary_follow_softmax()
    {
        var random = new Random(4);
        float[] logits = [.. Enumerable.Range(0, 3000).Select(_ => (float)random.NextDouble() * 2)];
        double[] probabilities = NaiveSampler.Softmax([.. logits.Select(x => (double)x)]);
        int[] tokens = Draw(logits, 1, i => (99, 0, i));
        // Thirty groups of a hundred tokens: a chi-square test needs a few hundred expected draws in each.
        double[] expected = [.. Enumerable.Range(0, 30).Select(g => Draws * probabilities.Skip(100 * g).Take(100).Sum())];
        int[] actual = [.. Enumerable.Range(0, 30).Select(g => tokens.Count(token => token / 100 == g))];
        AssertChiSquare(expected, actual, limit: 58);       // 29 degrees of freedom, p = 0.001
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0)]
    public void Draws_at_neighbouring_positions_and_choices_are_independent(int choiceStep, int positionStep)
    {
        float[] logits = [0.3f, 0f, 0.9f];
        double[] probabilities = NaiveSampler.Softmax([.. logits.Select(x => (double)x)]);
        int[] first = Draw(logits, 1, i => (5, 2 * (i % 100), 2 * (i / 100)));
        int[] second = Draw(logits, 1, i => (5, 2 * (i % 100) + choiceStep, 2 * (i / 100) + positionStep));
        double[] expected = [.. Enumerable.Range(0, 9).Select(pair => Draws * probabilities[pair / 3] * probabilities[pair % 3])];
        int[] actual = [.. Enumerable.Range(0, 9).Select(pair => first.Zip(second).Count(both => both.First * 3 + both.Second == pair))];
        AssertChiSquare(expected, actual, limit: 26);       // 8 degrees of freedom, p = 0.001
    }

    private static void CheckFollowsSoftmax(float[] logits, float temperature, Func<int, (ulong Seed, int Choice, int Position)> where)
    {
        double[] probabilities = NaiveSampler.Softmax([.. logits.Select(x => (double)(x / temperature))]);
        int[] tokens = Draw(logits, temperature, where);
        AssertChiSquare([.. probabilities.Select(p => p * Draws)], [.. Enumerable.Range(0, logits.Length).Select(token => tokens.Count(t => t == token))],
            limit: 24.3);       // 7 degrees of freedom, p = 0.001
    }

    private static int[] Draw(float[] logits, float temperature, Func<int, (ulong Seed, int Choice, int Position)> where)
    {
        var sampler = new Sampler(logits.Length);
        var parameters = new SamplingParameters { Temperature = temperature };
        return [.. Enumerable.Range(0, Draws).Select(i =>
        {
            (ulong seed, int choice, int position) = where(i);
            return sampler.Choose(logits, new LogitRequest(new SamplingState
            {
                Parameters = parameters, Seed = seed, Choice = choice, Position = position, Tokens = default, PromptLength = 0,
            }, -1, -1)).Token;
        })];
    }

    private static void AssertChiSquare(double[] expected, int[] actual, double limit)
    {
        double statistic = expected.Zip(actual, (e, a) => (a - e) * (a - e) / e).Sum();
        Assert.True(statistic < limit, $"chi-square {statistic:F1} is above {limit}: expected {string.Join(" ", expected.Select(e => e.ToString("F0")))}, drew {string.Join(" ", actual)}");
    }
}
