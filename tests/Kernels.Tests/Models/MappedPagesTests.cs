using Cluster.Kernels.Execution;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Models;

public sealed class MappedPagesTests
{
    /// <summary>After loading, of the mapped file little more than the embedding table may be resident.</summary>
    [Fact]
    public async Task Packed_weights_leave_resident_memory()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "resident pages are read from /proc");
        using var folder = new TemporaryFolder();
        string file = folder.File("resident.gguf");
        GgufExports.Write(SharedData.InRepository("models", "cluster-demo"), file, "F32");
        await using LoadedShard shard = await LoadedShard.OpenAsync(file);
        long length = new FileInfo(file).Length, embedding = 4L * shard.Engine.Config.VocabularySize * shard.Engine.Config.HiddenSize;
        long resident = ResidentBytes(file);
        Assert.True(resident < embedding + (length - embedding) / 4, $"{resident} of {length} bytes are resident, the embedding has {embedding}");
    }

    [Fact]
    public async Task Embedding_rows_are_still_read()
    {
        using var folder = new TemporaryFolder();
        string file = folder.File("model.gguf");
        GgufExports.Write(SharedData.InRepository("models", "cluster-demo"), file, "Q8_0");
        await using LoadedShard shard = await LoadedShard.OpenAsync(file);
        float[][] logits = await shard.LogitsAsync((new TestSequence([7, 8, 9], LoadedShard.Blocks(3)), 3));
        Assert.All(logits[^1], logit => Assert.True(float.IsFinite(logit)));
        Assert.Equal(DType.Q8_0, shard.Engine.Config.StoredType);
    }

    private static long ResidentBytes(string file)
    {
        long kilobytes = 0;
        bool inside = false;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            if (line.Contains('-') && !line.Contains(" kB", StringComparison.Ordinal) && char.IsAsciiHexDigitLower(line[0]))
                inside = line.EndsWith(file, StringComparison.Ordinal);
            else if (inside && line.StartsWith("Rss:", StringComparison.Ordinal))
                kilobytes += long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]);
        }
        return kilobytes << 10;
    }
}
