using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Tests.Scheduling;

public sealed class BlockHashTests
{
    [Fact]
    public void Hash_DependsOnSaltParentTokensAndRole()
    {
        BlockHash root = BlockHash.Root("model");
        BlockHash block = BlockHash.Next(root, [1, 2, 3, 4], 0);
        BlockHash[] others =
        [
            root,
            BlockHash.Root("other model"),
            BlockHash.Next(BlockHash.Root("other model"), [1, 2, 3, 4], 0),
            BlockHash.Next(block, [1, 2, 3, 4], 0),
            BlockHash.Next(root, [1, 2, 3, 5], 0),
            BlockHash.Next(root, [1, 2, 4, 3], 0),
            BlockHash.Next(root, [1, 2, 3, 4], 1),
        ];
        Assert.Equal(block, BlockHash.Next(BlockHash.Root("model"), [1, 2, 3, 4], 0));
        Assert.DoesNotContain(block, others);
        Assert.Equal(others.Length, others.Distinct().Count());
    }

    [Fact]
    public void LargeBlocks_AreHashedWhole()
    {
        int[] tokens = [.. Enumerable.Range(0, 1000)];
        BlockHash before = BlockHash.Next(BlockHash.Root(""), tokens, 0);
        tokens[^1]++;
        Assert.NotEqual(before, BlockHash.Next(BlockHash.Root(""), tokens, 0));
    }
}
