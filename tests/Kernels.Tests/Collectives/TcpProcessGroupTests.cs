using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>A process per rank.</summary>
public sealed class TcpProcessGroupTests : ProcessGroupConformance
{
    private protected override GroupUnderTest Create(int size, ProcessGroupOptions options) => TcpRanks.Create(size, TcpRanks.Options with { Group = options });
}

/// <summary>Two ranks in each process: subgroups of one process are threads that copy, others sockets.</summary>
public sealed class TcpTwoPerProcessTests : ProcessGroupConformance
{
    private protected override GroupUnderTest Create(int size, ProcessGroupOptions options) => TcpRanks.Create(size, TcpRanks.Options with { Group = options }, ranksPerMesh: 2);
}

/// <summary>Everything of some size goes over three connections.</summary>
public sealed class TcpStripedTests : ProcessGroupConformance
{
    private protected override GroupUnderTest Create(int size, ProcessGroupOptions options) =>
        TcpRanks.Create(size, TcpRanks.Options with { Group = options, DataConnections = 3, StripeBytes = 1000 });
}

/// <summary>Every operation at every kind of length, where a group is dear to make: encrypted, and through a network that delivers piece by piece.</summary>
public sealed class TcpVariantTests
{
    [Theory, InlineData(2), InlineData(3)]
    public void All_operations_encrypted(int size)
    {
        using GroupUnderTest ranks = TcpRanks.Create(size, Certificates.Encrypted with { DataConnections = 2, StripeBytes = 50_000 });
        RunAll(ranks);
    }

    [Theory, InlineData(2), InlineData(3)]
    public void All_operations_in_pieces(int size)
    {
        using GroupUnderTest ranks = TcpRanks.CreateBehindProxies(size, TcpRanks.Options with { DataConnections = 2, StripeBytes = 5000 }, pieceBytes: 1777).Ranks;
        RunAll(ranks);
    }

    private static void RunAll(GroupUnderTest ranks) => RankThreads.Run(ranks.Groups, group =>
    {
        int step = 0;
        foreach (int length in (int[])[0, 1, 17, 4096, 30_001, 200_000])
        {
            for (CollectiveOp operation = CollectiveOp.AllReduce; operation <= CollectiveOp.Send; operation++, step++)
                new ProgramStep(operation, step % 256, length, step).Run(group, step);
        }
    });
}

public sealed class TcpProcessGroupFailureTests : ProcessGroupFailureConformance
{
    private protected override GroupUnderTest Create(int size, ProcessGroupOptions options) => TcpRanks.Create(size, TcpRanks.Options with { Group = options });
}

public sealed class TcpEncryptedFailureTests : ProcessGroupFailureConformance
{
    private protected override GroupUnderTest Create(int size, ProcessGroupOptions options) =>
        TcpRanks.Create(size, Certificates.Encrypted with { Group = options, DataConnections = 2 });
}
