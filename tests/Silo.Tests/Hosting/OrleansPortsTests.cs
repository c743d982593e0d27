using System.Net;
using System.Net.Sockets;
using Cluster.Silo.Hosting;
using Cluster.TestKit.Processes;

namespace Cluster.Silo.Tests.Hosting;

/// <summary>Ports are remembered per silo name.</summary>
public sealed class OrleansPortsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void TheSameSiloGetsTheSamePortsAgain()
    {
        OrleansPorts first = OrleansPorts.Remember(_folder.Path, "host:a/b", null, null);
        Assert.NotEqual(first.Silo, first.Gateway);
        Assert.Equal(first, OrleansPorts.Remember(_folder.Path, "host:a/b", null, null));
        Assert.NotEqual(first, OrleansPorts.Remember(_folder.Path, "other", null, null));
    }

    [Fact]
    public void ATakenPortIsReplacedAndTheOtherKept()
    {
        OrleansPorts first = OrleansPorts.Remember(_folder.Path, "a", null, null);
        using var taken = new TcpListener(IPAddress.Any, first.Silo);
        taken.Start();
        OrleansPorts second = OrleansPorts.Remember(_folder.Path, "a", null, null);
        Assert.NotEqual(first.Silo, second.Silo);
        Assert.Equal(first.Gateway, second.Gateway);
    }

    [Fact]
    public void GivenPortsWin() => Assert.Equal(new OrleansPorts(40001, 40002), OrleansPorts.Remember(_folder.Path, "a", 40001, 40002));

    [Theory]
    [InlineData("")]
    [InlineData("x y")]
    [InlineData("5 5")]
    [InlineData("0 70000")]
    public void ADamagedNoteIsIgnored(string content)
    {
        Directory.CreateDirectory(Path.Combine(_folder.Path, "ports"));
        File.WriteAllText(Path.Combine(_folder.Path, "ports", "a"), content);
        OrleansPorts ports = OrleansPorts.Remember(_folder.Path, "a", null, null);
        Assert.InRange(ports.Silo, 1024, 65535);
        Assert.InRange(ports.Gateway, 1024, 65535);
    }
}
