using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// One packed copy per process of weights that several devices or models load from the same tensors of the same file: packed by the
/// first, shared by the others, freed by the last. Whoever asks while another packs waits for it.
/// </summary>
internal static class SharedWeights
{
    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, Place> Places = new(StringComparer.Ordinal);

    /// <summary>The weights of an identity; those without one are packed for the caller alone.</summary>
    /// <param name="identity">Files, tensors, stored type, layout; null = not shared.</param>
    /// <param name="pack">Packs them.</param>
    public static T Get<T>(string? identity, Func<T> pack) where T : PackedWeight
    {
        if (identity is null)
            return pack();
        Place place = PlaceOf(identity);
        lock (place)
        {
            if (place.Weight is T weight && weight.TryShare())
                return weight;
            T packed = pack();
            place.Weight = packed;
            return packed;
        }
    }

    private static Place PlaceOf(string identity)
    {
        lock (Gate)
        {
            if (Places.TryGetValue(identity, out Place? place))
                return place;
            foreach ((string key, Place known) in Places)
            {
                if (known.Weight is { IsFree: true })
                    Places.Remove(key);
            }
            return Places[identity] = new Place();
        }
    }

    // A place that was removed while another thread was about to fill it only means that one pair does not share.
    private sealed class Place
    {
        public volatile PackedWeight? Weight;
    }
}
