using Cluster.Silo.Storage;
using Cluster.TestKit.Processes;

namespace Cluster.Silo.Tests.Storage;

public sealed class DataFolderTests
{
    [Fact]
    public async Task AFolderIsHeldByOneSilo_AndTheErrorNamesTheFlag()
    {
        using var folder = new TemporaryFolder();
        using (DataFolder held = await Take(folder.Path))
        {
            IOException exception = await Assert.ThrowsAsync<IOException>(() => Take(folder.Path));
            Assert.Contains("--data-dir", exception.Message, StringComparison.Ordinal);
            Assert.Contains(folder.Path, exception.Message, StringComparison.Ordinal);
        }
        using DataFolder again = await Take(folder.Path);
        Assert.Equal(folder.Path, again.Path);
    }

    private static Task<DataFolder> Take(string path) =>
        DataFolder.TakeAsync(path, TimeSpan.FromMilliseconds(200), TimeProvider.System, TestContext.Current.CancellationToken);
}
