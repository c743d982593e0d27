using Cluster.Kernels.Execution;
using Cluster.Kernels.Sampling;
using CsCheck;

namespace Cluster.Kernels.Tests.Sampling;

public sealed class SamplerTests
{
    private static readonly Gen<SamplingParameters> Parameters =
        from temperature in Gen.OneOf(Gen.Const(1f), Gen.Float[0.05f, 3f])
        from topK in Gen.OneOf(Gen.Const(0), Gen.Int[1, 60], Gen.Int[1, 5000])
        // Of a large prime: at 1/2 or 2/3 the sums of equal weights hit the border exactly, where the order of rounding decides.
        from topP in Gen.OneOf(Gen.Const(1f), Gen.Int[1, 1_000_002].Select(n => n / 1_000_003f))
        from minP in Gen.OneOf(Gen.Const(0f), Gen.Float[0.0001f, 1f])
        from penalised in Gen.Bool
        from repetition in Gen.Float[0.5f, 2f]
        from frequency in Gen.Float[-1f, 1f]
        from presence in Gen.Float[-1f, 1f]
        select new SamplingParameters
        {
            Temperature = temperature,
            TopK = topK,
            TopP = topP,
            MinP = minP,
            RepetitionPenalty = penalised ? repetition : 1,
            FrequencyPenalty = penalised ? frequency : 0,
            PresencePenalty = penalised ? presence : 0,
        };

    private static readonly Gen<(float[] Logits, SamplingState State)> Cases =
        from vocabulary in Gen.OneOf(Gen.Int[1, 70], Gen.Int[1000, 6000])
        from shape in Gen.Int[0, 2]
        from seed in Gen.ULong
        from parameters in Parameters
        from position in Gen.Int[0, 100_000]
        from tokens in Gen.Int[0, vocabulary - 1].Array[1, 30]
        from banned in Gen.Int[0, vocabulary - 1].Array[0, 3]
        from bias in Gen.Int[0, vocabulary - 1].Array[0, 3]
        select (MakeLogits(vocabulary, shape, seed), new SamplingState
        {
            Parameters = parameters with { LogitBias = bias.Distinct().ToDictionary(token => token, token => token % 7 - 3f) },
            Seed = seed,
            Choice = position % 5,
            Position = position,
            Tokens = tokens,
            PromptLength = tokens.Length / 2,
            BannedTokens = vocabulary > 10 ? banned : [],
        });

    [Fact]
    public void A_draw_equals_the_definition() => Cases.Sample(test =>
    {
        LogitResult result = new Sampler(test.Logits.Length).Choose(test.Logits, new LogitRequest(test.State, -1, -1));
        Assert.Equal(NaiveSampler.Draw(test.Logits, test.State), result.Token);
    }, iter: 2000, threads: 1);

    [Fact]
    public void A_draw_from_a_large_vocabulary_equals_the_definition()
    {
        const int Vocabulary = 128_256;
        var sampler = new Sampler(Vocabulary);
        Gen.Select(Parameters, Gen.Int[0, 2], Gen.ULong, Gen.Int[0, 100_000]).Sample((parameters, shape, seed, position) =>
        {
            float[] logits = MakeLogits(Vocabulary, shape, seed);
            var state = new SamplingState { Parameters = parameters, Seed = seed, Choice = 1, Position = position, Tokens = new int[] { 5, 6, 5 }, PromptLength = 1 };
            Assert.Equal(NaiveSampler.Draw(logits, state), sampler.Choose(logits, new LogitRequest(state, -1, -1)).Token);
        }, iter: 60, threads: 1);
    }

    [Theory]
    [InlineData(0.9f, 0)]
    [InlineData(0.3f, 0)]
    [InlineData(0.9f, 5000)]
    public void A_draw_allocates_its_result_only(float topP, int topK)
    {
        const int Vocabulary = 128_256;
        var sampler = new Sampler(Vocabulary);
        float[] logits = MakeLogits(Vocabulary, 0, 3);
        var parameters = new SamplingParameters { TopP = topP, TopK = topK };
        LogitRequest[] requests = [.. Enumerable.Range(0, 40).Select(position => new LogitRequest(
            new SamplingState { Parameters = parameters, Seed = 1, Choice = 0, Position = position, Tokens = default, PromptLength = 0 }, -1, -1))];
        sampler.Choose(logits, requests[0]);
        long start = GC.GetAllocatedBytesForCurrentThread();
        var results = new LogitResult(0, float.NaN, []);
        long one = GC.GetAllocatedBytesForCurrentThread() - start;
        long least = long.MaxValue;
        // A collection that another test causes closes this thread's buffer and counts the rest of it: the least round is the draws' own.
        for (int round = 0; round < 4; round++)
        {
            start = GC.GetAllocatedBytesForCurrentThread();
            foreach (LogitRequest request in requests)
                results = sampler.Choose(logits, request);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - start);
        }
        Assert.Equal(requests.Length * one, least);
        Assert.InRange(results.Token, 0, Vocabulary - 1);
    }

    [Fact]
    public void Survivors_equal_the_definition() => Cases.Sample(test =>
    {
        double[] expected = NaiveSampler.Process(test.Logits, test.State);
        float[] scaled = [.. new LogitProcessor(test.Logits.Length).Process(test.Logits, test.State).ToArray().Select(x => x / test.State.Parameters.Temperature)];
        Survivors survivors = Survivors.Of(scaled, scaled.Max(), test.State.Parameters, new TopTokens());
        Assert.Equal(
            Enumerable.Range(0, scaled.Length).Where(i => double.IsFinite(expected[i])),
            Enumerable.Range(0, scaled.Length).Where(i => survivors.Contains(scaled[i], i)));
    }, iter: 2000, threads: 1);

    [Fact]
    public void Ties_at_the_top_k_border_stay_and_ties_at_the_top_p_border_go_by_id()
    {
        float[] logits = [0, 1, 1, 1, 2, -1];
        Assert.Equal([1, 2, 3, 4], Surviving(logits, new SamplingParameters { TopK = 2 }));
        float[] flat = [0, 0, 0, 0, 0, 0, 0, 0];
        Assert.Equal([0, 1, 2, 3], Surviving(flat, new SamplingParameters { TopP = 0.5f }));
        Assert.Equal([0], Surviving(flat, new SamplingParameters { TopP = 0.01f }));
    }

    [Fact]
    public void A_flat_vocabulary_reaches_top_p_beyond_the_first_selection()
    {
        var flat = new float[20_000];
        Assert.Equal(Enumerable.Range(0, 15_000), Surviving(flat, new SamplingParameters { TopP = 0.75f }));
    }

    [Fact]
    public void Temperature_zero_is_argmax_and_ties_go_to_the_lowest_id()
    {
        float[] logits = [.. Enumerable.Range(0, 100).Select(i => i % 10 == 7 ? 3f : -i)];
        Assert.Equal(7, Choose(logits, new SamplingParameters { Temperature = 0 }).Token);
        Assert.Equal(17, Choose(logits, new SamplingParameters { Temperature = 0 }, banned: [7]).Token);
        Assert.Equal(50, Choose(logits, new SamplingParameters { Temperature = 0, LogitBias = new Dictionary<int, float> { [50] = 100 } }).Token);
    }

    [Theory]
    [InlineData(float.NaN, 3)]
    [InlineData(float.PositiveInfinity, 3)]
    [InlineData(float.NaN, 19)]
    public void A_logit_that_is_not_finite_is_an_error(float bad, int token)
    {
        var logits = new float[20];
        logits[token] = bad;
        NonFiniteLogitException error = Assert.Throws<NonFiniteLogitException>(() => Choose(logits, new SamplingParameters { Temperature = 0 }));
        Assert.Equal(token, error.Token);
        Assert.Throws<NonFiniteLogitException>(() => Choose(logits, new SamplingParameters()));
    }

    [Fact]
    public void Forbidding_every_token_is_an_error()
    {
        Assert.Throws<NonFiniteLogitException>(() => Choose([1, 2], new SamplingParameters { Temperature = 0 }, banned: [0, 1]));
        Assert.Throws<NonFiniteLogitException>(() => Choose([1, 2], new SamplingParameters(), banned: [0, 1]));
    }

    [Fact]
    public void Log_probabilities_are_those_of_the_raw_distribution()
    {
        float[] logits = MakeLogits(3001, 0, 5);
        double[] probabilities = NaiveSampler.Softmax([.. logits.Select(x => (double)x)]);
        var state = State(new SamplingParameters { Temperature = 0.3f, TopK = 3, LogitBias = new Dictionary<int, float> { [8] = 50 } });
        LogitResult drawn = new Sampler(3001).Choose(logits, new LogitRequest(state, -1, 20));
        Assert.Equal(8, drawn.Token);
        Assert.Equal(Math.Log(probabilities[8]), drawn.Logprob, 1e-5);
        int[] best = [.. Enumerable.Range(0, 3001).OrderByDescending(i => logits[i]).ThenBy(i => i).Take(20)];
        Assert.Equal(best, drawn.Top.Select(score => score.Token));
        Assert.All(drawn.Top, score => Assert.Equal(Math.Log(probabilities[score.Token]), score.Logprob, 1e-5));
        LogitResult scored = new Sampler(3001).Choose(logits, new LogitRequest(null, 17, 0));
        Assert.Equal((-1, 0), (scored.Token, scored.Top.Length));
        Assert.Equal(Math.Log(probabilities[17]), scored.Logprob, 1e-5);
        Assert.True(float.IsNaN(new Sampler(3001).Choose(logits, new LogitRequest(null, 17, -1)).Logprob));
    }

    [Fact]
    public void Top_tokens_equal_a_sort() => Gen.Select(Gen.Int[-20, 20].Array[1, 900], Gen.Int[1, 1000]).Sample((values, count) =>
    {
        float[] logits = [.. values.Select(v => v / 4f)];       // many ties
        int[] expected = [.. Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).ThenBy(i => i).Take(count)];
        Assert.Equal(expected, new TopTokens().Best(logits, count).ToArray().Select(TokenKey.Token));
    }, iter: 500, threads: 1);

    [Fact]
    public void A_draw_allocates_nothing_but_its_result()
    {
        float[] logits = MakeLogits(32_000, 0, 9);
        var sampler = new Sampler(logits.Length);
        LogitRequest[] requests =
        [
            new(State(new SamplingParameters()), -1, -1),
            new(State(new SamplingParameters { Temperature = 0 }), -1, -1),
            new(State(new SamplingParameters { Temperature = 0.7f, TopP = 0.9f, TopK = 40, MinP = 0.01f }), -1, -1),
        ];
        long Measure()
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            foreach (LogitRequest request in requests)
                sampler.Choose(logits, request);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
        Measure();
        Assert.InRange(Measure(), 0, requests.Length * 64);
    }

    private static IEnumerable<int> Surviving(float[] logits, SamplingParameters parameters)
    {
        Survivors survivors = Survivors.Of(logits, logits.Max(), parameters, new TopTokens());
        return Enumerable.Range(0, logits.Length).Where(i => survivors.Contains(logits[i], i));
    }

    private static LogitResult Choose(float[] logits, SamplingParameters parameters, IReadOnlyList<int>? banned = null) =>
        new Sampler(logits.Length).Choose(logits, new LogitRequest(State(parameters) with { BannedTokens = banned ?? [] }, -1, -1));

    private static SamplingState State(SamplingParameters parameters) =>
        new() { Parameters = parameters, Seed = 1, Choice = 0, Position = 0, Tokens = default, PromptLength = 0 };

    // 0: like a language model's, 1: nearly flat, 2: few distinct values
    private static float[] MakeLogits(int vocabulary, int shape, ulong seed)
    {
        var random = new Random((int)(seed ^ (seed >> 32)));
        return [.. Enumerable.Range(0, vocabulary).Select(_ => shape switch
        {
            0 => (float)(random.NextDouble() * random.NextDouble() * random.NextDouble() * 30 - 10),
            1 => (float)random.NextDouble() * 0.1f,
            _ => random.Next(-3, 3) * 1.25f,
        })];
    }
}
