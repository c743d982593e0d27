using System.Runtime.InteropServices;

namespace Cluster.Kernels.Sampling;

/// <summary>The best token of a part of the vocabulary, as ranks hand it to the one that merges. 24 bytes.</summary>
/// <param name="Score">Its logit, or logit over temperature plus noise.</param>
/// <param name="Token">Its id in the whole vocabulary; -1 when no token of the part may be drawn.</param>
/// <param name="BadLogit">What a logit was that is not finite.</param>
/// <param name="IsBad">Whether <paramref name="Token"/> is such a one.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct TokenBest(double Score, int Token, float BadLogit, bool IsBad)
{
    /// <summary>No token.</summary>
    public static TokenBest None => new(double.NegativeInfinity, -1, 0, false);

    /// <summary>The better of two parts; of equal scores the lower id. The first bad logit goes before all.</summary>
    public static TokenBest Better(TokenBest left, TokenBest right)
    {
        if (left.IsBad || right.IsBad)
            return left.IsBad && !(right.IsBad && right.Token < left.Token) ? left : right;
        if (left.Token < 0 || right.Token < 0)
            return left.Token < 0 ? right : left;
        return right.Score > left.Score || (right.Score == left.Score && right.Token < left.Token) ? right : left;
    }

    /// <summary>The token.</summary>
    /// <exception cref="NonFiniteLogitException">There is none.</exception>
    public int Resolve() => IsBad || Token < 0 ? throw new NonFiniteLogitException(IsBad ? Token : -1, IsBad ? BadLogit : float.NegativeInfinity) : Token;
}
