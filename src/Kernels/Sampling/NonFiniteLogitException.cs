namespace Cluster.Kernels.Sampling;

/// <summary>No token can be chosen: the model gave a logit that is NaN or infinite, or every token is forbidden.</summary>
public sealed class NonFiniteLogitException(int token, float logit)
    : Exception(token < 0 ? "Logits must leave at least one token that may be drawn; all are -infinity." : $"The logit of token {token} must be finite, was {logit}.")
{
    /// <summary>Token of the first bad logit; -1 when all tokens are forbidden.</summary>
    public int Token { get; } = token;

    /// <summary>The logit.</summary>
    public float Logit { get; } = logit;
}
