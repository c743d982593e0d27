namespace Cluster.Grains.Decoding;

/// <summary>
/// Decides how many tokens are worth guessing for each sequence of a step: as many as make the most expected tokens per second, by the measured
/// times of steps and drafts and by how often guesses of that sequence were right; none when plain decoding seems as fast. A hundredth of the time goes into
/// short drafts for sequences without any, so that a text that became predictable is noticed. Finding out costs time: a short burst of many sequences may
/// be slower than plain decoding (BENCHMARKS.md). Pure: times are passed in.
/// </summary>
internal sealed class DraftController
{
    // Gains smaller than this are noise.
    private const double Margin = 1.05;
    private const double PriorWeight = 4;
    private const double ProbeShare = 0.01;

    // What was not measured yet may only be tried with time that was saved up for it: more of it at first.
    private const double TrialShare = 0.02;
    private const double FirstTrialShare = 0.2;
    private const int FirstSteps = 40;
    private readonly AcceptanceEstimate _all = new(0.995);
    private readonly StepCosts _steps = new();
    private readonly StepCosts _drafts = new();
    private readonly PriorityQueue<int, double> _next = new();
    private int[] _best = [];
    private double _probeCredit;
    private double _trialCredit;
    private int _choices;
    private int _nextProbe;

    /// <summary>A step of nothing but decode rows took so long.</summary>
    public void StepTook(int rows, TimeSpan time) => _steps.Observe(rows, time.TotalSeconds);

    /// <summary>Making drafts of up to <paramref name="tokens"/> tokens took so long.</summary>
    public void DraftTook(int tokens, TimeSpan time) => _drafts.Observe(tokens, time.TotalSeconds);

    /// <summary>A draft was verified.</summary>
    public void Verified(AcceptanceEstimate sequence, int tokens, int accepted)
    {
        sequence.Observe(tokens, accepted);
        _all.Observe(tokens, accepted);
    }

    /// <summary>Chooses the drafts' lengths.</summary>
    /// <param name="sequences">The sequences of the step; each has one row of its own.</param>
    /// <param name="lengths">In: the longest draft each may get; out: the one it should get. [sequences]</param>
    public void Choose(IReadOnlyList<AcceptanceEstimate> sequences, Span<int> lengths)
    {
        if (_best.Length < lengths.Length)
            _best = new int[lengths.Length];
        Span<int> chosen = _best.AsSpan(0, lengths.Length);
        chosen.Clear();
        double prior = _all.Rate(0.7, 1);
        Climb(sequences, lengths, chosen, prior);
        Probe(lengths, chosen);
        chosen.CopyTo(lengths);
    }

    // One guess for one sequence, in turn, whenever enough time was saved up for it.
    private void Probe(ReadOnlySpan<int> most, Span<int> chosen)
    {
        int rows = chosen.Length, longest = 0;
        foreach (int length in chosen)
            (rows, longest) = (rows + length, Math.Max(longest, length));
        double step = _steps.Of(rows);
        double price = _steps.Of(rows + 1) - step + (longest == 0 ? _drafts.Of(1) : 0);
        _probeCredit = Math.Min(_probeCredit + (ProbeShare * step), 4 * Math.Max(price, ProbeShare * step));
        for (int i = 0; i < chosen.Length && _probeCredit >= price; i++)
        {
            int at = (_nextProbe + i) % chosen.Length;
            if (chosen[at] > 0 || most[at] == 0)
                continue;
            chosen[at] = 1;
            _probeCredit -= Math.Max(price, ProbeShare * step);
            _nextProbe = at + 1;
            return;
        }
    }

    // One more token at a time, always the one that is most likely right; what was best on the way is taken.
    private void Climb(IReadOnlyList<AcceptanceEstimate> sequences, ReadOnlySpan<int> most, Span<int> chosen, double prior)
    {
        _next.Clear();
        for (int i = 0; i < most.Length; i++)
        {
            if (most[i] > 0)
                _next.Enqueue(i, -sequences[i].Rate(prior, PriorWeight));
        }

        Span<int> tried = most.Length <= 512 ? stackalloc int[most.Length] : new int[most.Length];
        int rows = most.Length, longest = 0;
        double tokens = most.Length;
        double plain = _steps.Of(rows), price = 0;
        _trialCredit += plain * (++_choices <= FirstSteps ? FirstTrialShare : TrialShare);
        double best = tokens / Math.Max(plain, double.Epsilon) * Margin;
        while (rows < _steps.Reach && _next.TryDequeue(out int index, out double chance))
        {
            tokens -= chance;
            longest = Math.Max(longest, ++tried[index]);
            rows++;
            if (tried[index] < most[index])
                _next.Enqueue(index, chance * sequences[index].Rate(prior, PriorWeight));
            double time = _steps.Of(rows) + _drafts.Of(longest);
            double rate = tokens / Math.Max(time, double.Epsilon);
            bool isTrial = !_steps.IsKnown(rows);
            if (rate <= best || (isTrial && time - plain > _trialCredit))
                continue;
            (best, price) = (rate, isTrial ? time - plain : 0);
            tried.CopyTo(chosen);
        }

        _trialCredit -= Math.Max(0, price);
    }
}
