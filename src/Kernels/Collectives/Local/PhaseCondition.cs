namespace Cluster.Kernels.Collectives;

/// <summary>All ranks have come to a phase, or the group has failed.</summary>
internal struct PhaseCondition(LocalHub hub, long phase) : IWaitCondition
{
    private int _first;

    /// <summary>First rank that is not known to have come; the number of ranks when all have.</summary>
    public readonly int Missing => _first;

    public bool IsMet()
    {
        while (_first < hub.Size && Volatile.Read(ref hub.Slot(_first).Phase) >= phase)
            _first++;
        return _first == hub.Size || hub.Failure.IsFailed;
    }
}
