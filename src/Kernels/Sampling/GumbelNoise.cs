namespace Cluster.Kernels.Sampling;

/// <summary>
/// Gumbel noise of every token at one position of one choice: argmax(logit + noise) is a draw from softmax(logits). A
/// token's noise is a pure function of (seed, choice, position, token id). Thirty-two consecutive tokens share eight
/// counters: token t has word (t / 8) % 4 of counter t / 32 * 8 + t % 8, so that words lie in token order in vectors of
/// eight. Tokens are counted from firstToken, a multiple of <see cref="BlockTokens"/>: the first of a part of the vocabulary.
/// </summary>
internal readonly struct GumbelNoise(ulong seed, int choice, int position, int firstToken = 0)
{
    /// <summary>Tokens of one call of <see cref="FillBlock"/>.</summary>
    public const int BlockTokens = 64;

    // Fourth counter word: what the numbers are for. Another use of the same seed takes another value.
    private const uint Purpose = 0;

    /// <summary>Noise of one token.</summary>
    public double Of(int token) => FromBits(Bits(token));

    /// <summary>Random word of one token.</summary>
    public uint Bits(int token)
    {
        token += firstToken;
        var words = Philox.Words((uint)((token >> 5 << 3) | (token & 7)), (uint)position, (uint)choice, Purpose, seed);
        return ((token >> 3) & 3) switch { 0 => words.Word0, 1 => words.Word1, 2 => words.Word2, _ => words.Word3 };
    }

    /// <summary>Random words of tokens [64 * block, 64 * block + 64).</summary>
    public void FillBlock(int block, Span<uint> bits) => Philox.SixteenCounters((uint)(block + (firstToken / BlockTokens)) * 16, (uint)position, (uint)choice, Purpose, seed, bits);

    /// <summary>-log(-log u) with u = (bits + 1/2) / 2^32, which is never 0 or 1.</summary>
    public static double FromBits(uint bits)
    {
        double uniform = (bits + 0.5) * (1.0 / 4294967296.0);
        return -Math.Log(-Math.Log(uniform));
    }
}
