namespace Cluster.Kernels.Collectives;

/// <summary>What the ranks of a group share within a process.</summary>
internal sealed class LocalHub
{
    private readonly LocalSlot[] _slots;
    private readonly RankParker[] _parkers;
    private readonly LocalMailbox[] _mailboxes;
    private readonly Dictionary<string, LocalHub> _children = [];
    private readonly ProcessGroupOptions _options;

    /// <param name="rootRanks">Each rank's number in the outermost group.</param>
    /// <param name="options">Limits.</param>
    public LocalHub(int[] rootRanks, ProcessGroupOptions options)
        : this(Parkers(rootRanks.Length, options), rootRanks, new GroupFailure(), options)
    {
        Failure.OnFailure(() =>
        {
            foreach (RankParker parker in _parkers)
                parker.Wake();
        });
    }

    private LocalHub(RankParker[] parkers, int[] rootRanks, GroupFailure failure, ProcessGroupOptions options)
    {
        _parkers = parkers;
        _options = options;
        RootRanks = rootRanks;
        Failure = failure;
        _slots = GC.AllocateArray<LocalSlot>(parkers.Length, pinned: true);
        _mailboxes = new LocalMailbox[parkers.Length * parkers.Length];
        for (int i = 0; i < _mailboxes.Length; i++)
            _mailboxes[i] = new LocalMailbox(options.SendBufferBytes);
    }

    /// <summary>Ranks.</summary>
    public int Size => _slots.Length;

    /// <summary>Each rank's number in the outermost group.</summary>
    public int[] RootRanks { get; }

    /// <summary>Shared with the outermost group.</summary>
    public GroupFailure Failure { get; }

    public ref LocalSlot Slot(int rank) => ref _slots[rank];

    public RankParker Parker(int rank) => _parkers[rank];

    /// <summary>Messages on their way.</summary>
    public LocalMailbox Mailbox(int from, int to) => _mailboxes[(from * Size) + to];

    /// <summary>Shows the others that a rank has come to a phase.</summary>
    public void Advance(int rank, long phase)
    {
        Volatile.Write(ref _slots[rank].Phase, phase);
        for (int other = 0; other < _parkers.Length; other++)
        {
            if (other != rank)
                _parkers[other].Wake();
        }
    }

    /// <summary>The n-th subgroup of these ranks: whoever of them comes first makes it.</summary>
    public LocalHub Child(int[] ranks, int ordinal)
    {
        lock (_children)
        {
            string key = $"{ordinal}:{string.Join(',', ranks)}";
            if (!_children.TryGetValue(key, out LocalHub? child))
            {
                child = new LocalHub([.. ranks.Select(rank => _parkers[rank])], [.. ranks.Select(rank => RootRanks[rank])], Failure, _options);
                _children.Add(key, child);
            }

            return child;
        }
    }

    private static RankParker[] Parkers(int size, ProcessGroupOptions options)
    {
        // Spinning for somebody who has no core to run on only keeps him from getting one.
        TimeSpan spin = size <= Environment.ProcessorCount ? options.LocalSpin : TimeSpan.FromMicroseconds(Math.Min(1, options.Spin.TotalMicroseconds));
        return [.. Enumerable.Range(0, size).Select(_ => new RankParker(spin))];
    }
}
