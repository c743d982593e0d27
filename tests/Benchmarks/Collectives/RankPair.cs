using Cluster.Kernels.Collectives;

namespace Cluster.Benchmarks.Collectives;

/// <summary>Two ranks: the caller is rank 0; rank 1 does what rank 0 tells it through the group itself.</summary>
internal sealed class RankPair : IDisposable
{
    /// <summary>Operations of one call: handing out the order does not count beside them.</summary>
    public const int Batch = 16;

    private readonly IReadOnlyList<IProcessGroup> _ranks;
    private readonly float[] _data = new float[4 << 20];
    private readonly Thread _second;

    public RankPair(IReadOnlyList<IProcessGroup> ranks)
    {
        _ranks = ranks;
        _second = new Thread(Second) { IsBackground = true, Name = "rank 1" };
        _second.Start();
    }

    public void AllReduce(int bytes) => Run(_ranks[0], _data, bytes, reduce: 1);

    public void PingPong(int bytes) => Run(_ranks[0], _data, bytes, reduce: 0);

    public void Dispose()
    {
        _ranks[0].Broadcast<int>(0, [-1, 0], 0);
        _second.Join();
        foreach (IProcessGroup rank in _ranks)
            rank.Dispose();
    }

    private static void Run(IProcessGroup group, float[] data, int bytes, int reduce)
    {
        group.Broadcast<int>(0, [bytes, reduce], 0);
        Work(group, data.AsSpan(0, bytes / sizeof(float)), reduce);
    }

    private static void Work(IProcessGroup group, Span<float> data, int reduce)
    {
        for (int i = 0; i < Batch; i++)
        {
            if (reduce != 0)
                group.AllReduce(data, 1);
            else if (group.Rank == 0)
            {
                group.Send<float>(1, data, 2);
                group.Receive<float>(1, data, 2);
            }
            else
            {
                group.Receive<float>(0, data, 2);
                group.Send<float>(0, data, 2);
            }
        }
    }

    private void Second()
    {
        var data = new float[_data.Length];
        Span<int> order = [0, 0];
        while (true)
        {
            _ranks[1].Broadcast(0, order, 0);
            if (order[0] < 0)
                return;
            Work(_ranks[1], data.AsSpan(0, order[0] / sizeof(float)), order[1]);
        }
    }
}
