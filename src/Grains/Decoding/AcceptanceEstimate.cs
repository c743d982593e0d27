namespace Cluster.Grains.Decoding;

/// <summary>How often a guess is right, given that all before it in the draft were; older drafts count less.</summary>
/// <param name="decay">How much the drafts before still count with each new one.</param>
internal sealed class AcceptanceEstimate(double decay = 0.95)
{
    private double _tried;
    private double _right;

    /// <summary>The rate, 0..1; what was seen counts against a prior that weighs <paramref name="weight"/> guesses.</summary>
    public double Rate(double prior, double weight) => (_right + (prior * weight)) / (_tried + weight);

    /// <summary>A draft of <paramref name="tokens"/> tokens was verified, and the first <paramref name="accepted"/> were right.</summary>
    public void Observe(int tokens, int accepted)
    {
        _tried = (_tried * decay) + Math.Min(tokens, accepted + 1);
        _right = (_right * decay) + accepted;
    }
}
