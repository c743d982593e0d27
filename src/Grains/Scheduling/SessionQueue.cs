namespace Cluster.Grains.Scheduling;

/// <summary>
/// Waiting sequences by session. The next one comes from the session that runs the fewest, so that 128 choices of one
/// session do not go before the first choice of another; among equals, the session that was accepted first.
/// </summary>
/// <param name="holdAbove">Followers wait for their leader when the prompt is longer than this: one block can be shared.</param>
internal sealed class SessionQueue(int holdAbove)
{
    private readonly Dictionary<string, Share> _shares = new(StringComparer.Ordinal);
    private readonly List<Share> _waiting = [];

    /// <summary>Waiting sequences.</summary>
    public int Count { get; private set; }

    /// <summary>Sessions with waiting sequences.</summary>
    public int SessionCount => _waiting.Count;

    /// <summary>Sequences of a session that hold blocks.</summary>
    public int Running(string session) => _shares.TryGetValue(session, out Share? share) ? share.Running : 0;

    /// <summary>Queues a sequence at its place.</summary>
    public void Add(Sequence sequence)
    {
        Share share = ShareOf(sequence);
        int index = share.Waiting.Count;
        while (index > 0 && Sequence.Compare(sequence, share.Waiting[index - 1]) < 0)
            index--;
        share.Waiting.Insert(index, sequence);
        if (share.Waiting.Count == 1)
            _waiting.Add(share);
        Count++;
    }

    /// <summary>Takes a sequence out of the queue.</summary>
    public void Remove(Sequence sequence)
    {
        Share share = ShareOf(sequence);
        if (!share.Waiting.Remove(sequence))
            throw new InvalidOperationException($"Sequence {sequence.Id} is not in the queue of its session.");
        if (share.Waiting.Count == 0)
            _waiting.Remove(share);
        Count--;
        Forget(share);
    }

    /// <summary>A sequence of the session got blocks (+1) or lost them (-1).</summary>
    public void CountRunning(Sequence sequence, int change)
    {
        Share share = ShareOf(sequence);
        share.Running += change;
        Forget(share);
    }

    /// <summary>Who starts next, or null.</summary>
    public Sequence? Next()
    {
        Sequence? best = null;
        int bestRunning = 0;
        foreach (Share share in _waiting)
        {
            Sequence? candidate = First(share);
            if (candidate is null)
                continue;
            if (best is null || IsBefore(candidate, share.Running, best, bestRunning))
                (best, bestRunning) = (candidate, share.Running);
        }

        return best;
    }

    /// <summary>All waiting sequences.</summary>
    public IEnumerable<Sequence> All => _waiting.SelectMany(share => share.Waiting);

    private static bool IsBefore(Sequence candidate, int running, Sequence best, int bestRunning) =>
        candidate.Priority != best.Priority ? candidate.Priority < best.Priority
        : running != bestRunning ? running < bestRunning
        : Sequence.Compare(candidate, best) < 0;

    private Sequence? First(Share share)
    {
        foreach (Sequence sequence in share.Waiting)
        {
            if (!IsHeld(sequence))
                return sequence;
        }

        return null;
    }

    // The other choices of a prompt wait until the first has computed it; then they find its blocks in the prefix cache.
    private bool IsHeld(Sequence sequence) =>
        sequence.PromptLength > holdAbove && sequence.Leader is { State: not SequenceState.Finished, PromptComputed: false };

    private Share ShareOf(Sequence sequence)
    {
        if (!_shares.TryGetValue(sequence.Session, out Share? share))
            _shares.Add(sequence.Session, share = new Share(sequence.Session));
        return share;
    }

    private void Forget(Share share)
    {
        if (share.Waiting.Count == 0 && share.Running == 0)
            _shares.Remove(share.Session);
    }

    private sealed class Share(string session)
    {
        public string Session { get; } = session;

        public List<Sequence> Waiting { get; } = [];

        public int Running { get; set; }
    }
}
