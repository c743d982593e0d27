namespace Cluster.Grains.Scheduling;

/// <summary>Where a sequence is.</summary>
internal enum SequenceState
{
    /// <summary>In the queue, without blocks.</summary>
    Waiting,

    /// <summary>Holds blocks for all its known tokens; in at most one step at a time.</summary>
    Running,

    /// <summary>Ended or cancelled; holds nothing.</summary>
    Finished,
}

/// <summary>
/// The scheduler's view of one choice: known tokens, of which the first <see cref="ComputedTokens"/> are in the cache.
/// There are no prefill and decode phases: computed tokens catch up with known tokens. A preemption takes the blocks and
/// leaves the tokens. Open, so that a replica can add what scheduling does not read.
/// </summary>
internal class Sequence
{
    private int[] _tokens;
    private int[] _draft = [];
    private int _draftLength;

    /// <summary>A sequence that has not been queued yet.</summary>
    /// <param name="id">Number within the replica; later sequences have larger ones.</param>
    /// <param name="session">Fairness is among sessions.</param>
    /// <param name="prompt">Prompt tokens, at least one.</param>
    /// <param name="generated">Tokens generated before (a resume).</param>
    /// <param name="maxTokens">Most tokens to generate, including <paramref name="generated"/>.</param>
    public Sequence(int id, string session, ReadOnlySpan<int> prompt, ReadOnlySpan<int> generated, int maxTokens)
    {
        ArgumentOutOfRangeException.ThrowIfZero(prompt.Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(generated.Length, maxTokens);
        Id = id;
        Session = session;
        PromptLength = prompt.Length;
        Length = prompt.Length + generated.Length;
        MaxLength = prompt.Length + maxTokens;
        _tokens = new int[Math.Min(MaxLength, Length + 32)];
        prompt.CopyTo(_tokens);
        generated.CopyTo(_tokens.AsSpan(prompt.Length));
    }

    /// <summary>Number within the replica.</summary>
    public int Id { get; }

    /// <summary>The session it belongs to.</summary>
    public string Session { get; }

    /// <summary>Lower runs earlier.</summary>
    public int Priority { get; init; }

    /// <summary>Order among equals: when the session was accepted.</summary>
    public long AcceptedAt { get; init; }

    /// <summary>Compute every row, because something is wanted of each (prompt log-probabilities).</summary>
    public bool BypassCache { get; set; }

    /// <summary>A sequence with the same prompt that computes it first; this one waits and then shares its blocks.</summary>
    public Sequence? Leader { get; init; }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptLength { get; }

    /// <summary>Known tokens.</summary>
    public int Length { get; private set; }

    /// <summary>Known tokens at which the sequence is complete.</summary>
    public int MaxLength { get; }

    /// <summary>Known tokens, [Length].</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Length);

    /// <summary>Tokens guessed to follow the known ones; the next step that draws from the last known token verifies as many as it has room for.</summary>
    public ReadOnlySpan<int> Draft => _draft.AsSpan(0, _draftLength);

    /// <summary>Tokens generated so far.</summary>
    public int GeneratedCount => Length - PromptLength;

    /// <summary>Where the sequence is.</summary>
    public SequenceState State { get; internal set; }

    /// <summary>Tokens whose keys and values are in the cache and committed.</summary>
    public int ComputedTokens { get; internal set; }

    /// <summary>Tokens found in the prefix cache when it first started.</summary>
    public int CachedTokens { get; internal set; }

    /// <summary>Whether the whole prompt was computed at least once.</summary>
    public bool PromptComputed { get; internal set; }

    /// <summary>Whether it has been given blocks at least once.</summary>
    public bool Started { get; internal set; }

    /// <summary>Step it is part of now, or -1.</summary>
    public long StepInFlight { get; internal set; } = -1;

    /// <summary>Last step that served it, or -1.</summary>
    public long LastStep { get; internal set; } = -1;

    /// <summary>How often its blocks were taken back.</summary>
    public int Preemptions { get; internal set; }

    /// <summary>Totals over all steps.</summary>
    public StepAccount Account { get; internal set; }

    /// <summary>Its blocks.</summary>
    public BlockTable Blocks { get; } = new();

    /// <summary>Hash chain over its full blocks, as far as it was needed.</summary>
    internal List<BlockHash> BlockHashes { get; } = [];

    /// <summary>Full blocks already offered to the prefix cache.</summary>
    internal int RegisteredBlocks { get; set; }

    /// <summary>Rows in the step that is being made.</summary>
    internal int PlannedRows { get; set; }

    /// <summary>What the shards know of it: tokens and blocks (0 = not known at all).</summary>
    internal (int Tokens, int Blocks) Announced { get; set; }

    /// <summary>Known tokens that are not computed.</summary>
    public int PendingTokens => Length - ComputedTokens;

    /// <summary>Order of service and of eviction: priority, acceptance, arrival.</summary>
    public static int Compare(Sequence left, Sequence right)
    {
        int order = left.Priority.CompareTo(right.Priority);
        if (order == 0)
            order = left.AcceptedAt.CompareTo(right.AcceptedAt);
        return order != 0 ? order : left.Id.CompareTo(right.Id);
    }

    /// <summary>Replaces the guess. Not while the sequence is in a step.</summary>
    public void Propose(ReadOnlySpan<int> draft)
    {
        if (StepInFlight >= 0)
            throw new InvalidOperationException($"Sequence {Id} is in step {StepInFlight}, which reads its draft.");
        if (_draft.Length < draft.Length)
            _draft = new int[draft.Length];
        draft.CopyTo(_draft);
        _draftLength = draft.Length;
    }

    /// <summary>Keeps the first <paramref name="length"/> tokens of the guess.</summary>
    public void TrimDraft(int length) => _draftLength = Math.Min(_draftLength, length);

    /// <summary>Forgets what a scheduler and the shards of an epoch knew; the tokens stay.</summary>
    public void Detach()
    {
        State = SequenceState.Waiting;
        Blocks.Clear();
        BlockHashes.Clear();
        (ComputedTokens, RegisteredBlocks, PlannedRows) = (0, 0, 0);
        (StepInFlight, LastStep) = (-1, -1);
        Announced = default;
        _draftLength = 0;
    }

    internal void Append(ReadOnlySpan<int> tokens)
    {
        if (Length + tokens.Length > MaxLength)
            throw new InvalidOperationException($"Sequence {Id} would have {Length + tokens.Length} tokens, limit {MaxLength}.");
        if (Length + tokens.Length > _tokens.Length)
            Array.Resize(ref _tokens, Math.Min(MaxLength, Math.Max(_tokens.Length * 2, Length + tokens.Length)));
        tokens.CopyTo(_tokens.AsSpan(Length));
        Length += tokens.Length;
        _draftLength = 0;
    }
}
