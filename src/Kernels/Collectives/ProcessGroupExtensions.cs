using System.Runtime.InteropServices;

namespace Cluster.Kernels.Collectives;

/// <summary>The operations over elements instead of bytes, and with equal parts.</summary>
public static class ProcessGroupExtensions
{
    /// <summary>output = this rank's of N equal parts of the sum over ranks of input.</summary>
    public static void ReduceScatter(this IProcessGroup group, ReadOnlySpan<float> input, Span<float> output, int tag)
    {
        Span<int> counts = stackalloc int[group.Size];
        counts.Fill(output.Length);
        group.ReduceScatter(input, counts, output, tag);
    }

    /// <summary>output = the inputs of all ranks, equally long, in rank order.</summary>
    public static void AllGather<T>(this IProcessGroup group, ReadOnlySpan<T> input, Span<T> output, int tag)
        where T : unmanaged
    {
        Span<int> counts = stackalloc int[group.Size];
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(input);
        counts.Fill(bytes.Length);
        group.AllGather(bytes, counts, MemoryMarshal.AsBytes(output), tag);
    }

    /// <summary>output = the inputs of all ranks; counts in elements.</summary>
    public static void AllGather<T>(this IProcessGroup group, ReadOnlySpan<T> input, ReadOnlySpan<int> counts, Span<T> output, int tag)
        where T : unmanaged
    {
        Span<int> byteCounts = stackalloc int[counts.Length];
        InBytes<T>(counts, byteCounts);
        group.AllGather(MemoryMarshal.AsBytes(input), byteCounts, MemoryMarshal.AsBytes(output), tag);
    }

    /// <summary>Part r of input, of N equal ones, goes to rank r; part r of output comes from rank r.</summary>
    public static void AllToAll<T>(this IProcessGroup group, ReadOnlySpan<T> input, Span<T> output, int tag)
        where T : unmanaged
    {
        Span<int> counts = stackalloc int[group.Size];
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(input);
        counts.Fill(bytes.Length / group.Size);
        group.AllToAll(bytes, counts, MemoryMarshal.AsBytes(output), counts, tag);
    }

    /// <summary>Part r of input goes to rank r; part r of output comes from rank r; counts in elements.</summary>
    public static void AllToAll<T>(this IProcessGroup group, ReadOnlySpan<T> input, ReadOnlySpan<int> sendCounts, Span<T> output, ReadOnlySpan<int> receiveCounts, int tag)
        where T : unmanaged
    {
        Span<int> outgoing = stackalloc int[sendCounts.Length], incoming = stackalloc int[receiveCounts.Length];
        InBytes<T>(sendCounts, outgoing);
        InBytes<T>(receiveCounts, incoming);
        group.AllToAll(MemoryMarshal.AsBytes(input), outgoing, MemoryMarshal.AsBytes(output), incoming, tag);
    }

    /// <summary>Hands elements to a rank.</summary>
    public static void Send<T>(this IProcessGroup group, int peer, ReadOnlySpan<T> data, int tag)
        where T : unmanaged => group.Send(peer, MemoryMarshal.AsBytes(data), tag);

    /// <summary>Takes the next elements of that rank and tag.</summary>
    public static void Receive<T>(this IProcessGroup group, int peer, Span<T> data, int tag)
        where T : unmanaged => group.Receive(peer, MemoryMarshal.AsBytes(data), tag);

    /// <summary>data = root's data, everywhere.</summary>
    public static void Broadcast<T>(this IProcessGroup group, int root, Span<T> data, int tag)
        where T : unmanaged => group.Broadcast(root, MemoryMarshal.AsBytes(data), tag);

    private static unsafe void InBytes<T>(ReadOnlySpan<int> elements, Span<int> bytes)
        where T : unmanaged
    {
        for (int i = 0; i < elements.Length; i++)
            bytes[i] = checked(elements[i] * sizeof(T));
    }
}
