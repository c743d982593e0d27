namespace Cluster.Kernels.Collectives;

/// <summary>
/// What one rank moved, by tag: exact integers, so that claims about communication are checked against closed formulas. A byte counts
/// when it leaves for another rank or comes from one, whatever the medium; headers do not count. A round is one exchange that the
/// next one has to wait for. Written by the rank's thread, readable by any.
/// </summary>
public sealed class CommunicationLedger
{
    private readonly Counts[] _byTag = new Counts[IProcessGroup.MaxTag + 1];

    /// <summary>The counts of one tag.</summary>
    public LedgerEntry this[int tag]
    {
        get
        {
            ref Counts counts = ref _byTag[tag];
            return new LedgerEntry(Volatile.Read(ref counts.Operations), Volatile.Read(ref counts.Rounds), Volatile.Read(ref counts.Sent), Volatile.Read(ref counts.Received));
        }
    }

    /// <summary>The counts of all tags together.</summary>
    public LedgerEntry Total
    {
        get
        {
            LedgerEntry sum = default;
            for (int tag = 0; tag < _byTag.Length; tag++)
                sum += this[tag];
            return sum;
        }
    }

    internal void Add(int tag, LedgerEntry entry)
    {
        ref Counts counts = ref _byTag[tag];
        Volatile.Write(ref counts.Operations, counts.Operations + entry.Operations);
        Volatile.Write(ref counts.Rounds, counts.Rounds + entry.Rounds);
        Volatile.Write(ref counts.Sent, counts.Sent + entry.BytesSent);
        Volatile.Write(ref counts.Received, counts.Received + entry.BytesReceived);
    }

    private struct Counts
    {
        public long Operations;
        public long Rounds;
        public long Sent;
        public long Received;
    }
}
