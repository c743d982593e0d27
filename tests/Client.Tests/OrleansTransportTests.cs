using System.Net;
using System.Net.Sockets;
using System.Reflection;
using Cluster.Client.Transports;
using Cluster.Contracts;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Runtime;
using Orleans.TestingHost;

namespace Cluster.Client.Tests;

/// <summary>Silos of a real Orleans cluster in this process, with fake grains over one store.</summary>
public sealed class FakeCluster : IAsyncLifetime
{
    internal FakeStore Store { get; } = new();

    internal InProcessTestCluster Cluster { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        var builder = new InProcessTestClusterBuilder(2);
        builder.Options.ConfigureFileLogging = false;
        builder.ConfigureSilo((_, silo) =>
        {
            silo.Services.AddSingleton(Store);
            silo.Configure<ClusterMembershipOptions>(options =>
            {
                options.ProbeTimeout = TimeSpan.FromMilliseconds(500);
                options.NumMissedProbesLimit = 2;
                options.NumVotesForDeathDeclaration = 1;
            });
        });
        Cluster = builder.Build();
        await Cluster.DeployAsync();
    }

    public ValueTask DisposeAsync() => Cluster.DisposeAsync();
}

/// <summary>A silo dies under a stream.</summary>
public sealed class LostSiloTests(FakeCluster fixture) : IClassFixture<FakeCluster>
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task KilledSilo_EveryEventOnce()
    {
        await using var client = new InferenceClient(new OrleansSessionTransport(fixture.Cluster.Client, null), new InferenceClientOptions());
        bool held = false;
        var atThird = new TaskCompletionSource();
        fixture.Store.BeforeEvent = async (_, number, cancellationToken) =>
        {
            if (number == 3 && !held)
            {
                held = true;
                atThird.SetResult();
                await Task.Delay(Timeout.Infinite, cancellationToken);
            }
        };
        await using InferenceSession session = await client.StartAsync(new() { Model = "fake", Prompts = [Prompt.FromText("hello")], Choices = 2 }, Token);
        Task<List<SessionEvent>> reading = session.StreamAsync(-1, Token).ToListAsync(Token).AsTask();
        await atThird.Task.WaitAsync(Token);
        SiloAddress home = fixture.Store.Homes[session.Id];
        await fixture.Cluster.KillSiloAsync(fixture.Cluster.Silos.Single(silo => silo.SiloAddress.Equals(home)), Token);
        Assert.Equal(FakeSessionGrain.Events(2), await reading);
        Assert.Equal([0, 3], fixture.Store.Attachments[session.Id]);
        Assert.NotEqual(home, fixture.Store.Homes[session.Id]);
    }
}

/// <summary>The SDK over grain calls.</summary>
public sealed class OrleansTransportTests : IClassFixture<FakeCluster>
{
    private readonly FakeStore _store;
    private readonly InProcessTestCluster _cluster;
    private readonly InferenceClient _client;

    public OrleansTransportTests(FakeCluster fixture)
    {
        (_store, _cluster) = (fixture.Store, fixture.Cluster);
        _store.BeforeEvent = (_, _, _) => Task.CompletedTask;
        _store.BeforeStart = _ => Task.CompletedTask;
        _store.Requests.Clear();
        _store.Starts.Clear();
        _client = new InferenceClient(new OrleansSessionTransport(_cluster.Client, "key"), new InferenceClientOptions { ReconnectTimeout = TimeSpan.FromSeconds(30) });
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static GenerationRequest Request(int choices = 1) => new() { Model = "fake", Prompts = [Prompt.FromText("hello")], Choices = choices };

    [Fact]
    public async Task Generate_GivesTheWholeAnswer_AndOwnsTheSession()
    {
        GenerationResult result = await _client.GenerateAsync(Request(choices: 2) with { Presentation = new() { Echo = true } }, Token);
        Assert.Equal("prompt text c0t0 c0t1 c0t2 c0t3 c0t4 ", result.Text);
        Assert.Equal([100, 101, 102, 103, 104], result.Choices[1].TokenIds);
        Assert.Equal("END", result.Choices[1].StopString);
        Assert.Equal(new TokenUsage(3, 10, 1), result.Usage);
        Assert.Matches("^cmpl-[0-9a-f]{32}$", result.SessionId);
        Assert.Equal(SessionId.OwnerOf("key"), _store.Requests[result.SessionId].Owner);
        Assert.Equal("fake", (await _client.GenerateAsync(Request() with { Model = "" }, Token)).Model);

        var stranger = new InferenceClient(new OrleansSessionTransport(_cluster.Client, "other"), new InferenceClientOptions());
        var refused = await Assert.ThrowsAsync<RequestRejectedException>(async () => await stranger.ResumeAsync(result.SessionId, -1, Token).ToListAsync(Token));
        Assert.Equal(RejectionReason.SessionNotFound, refused.Reason);
    }

    [Fact]
    public async Task Refusal_PassesThrough_WithItsReason()
    {
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => _client.GenerateAsync(Request() with { Model = "other" }, Token));
        Assert.Equal((RejectionReason.ModelNotFound, "model"), (refused.Reason, refused.Parameter));
    }

    [Theory]
    [MemberData(nameof(TransientFailures))]
    public async Task TransientFailure_BeforeAnyEvent_EveryEventOnce(int failure)
    {
        for (int at = 0; at <= 6; at++)
        {
            int position = at;
            int thrown = 0;
            _store.BeforeEvent = (_, number, _) => number == position && Interlocked.Exchange(ref thrown, 1) == 0 ? throw Failures[failure]() : Task.CompletedTask;
            Assert.Equal(FakeSessionGrain.Events(1), await _client.StreamAsync(Request(), Token).ToListAsync(Token));
            Assert.Equal(1, thrown);
        }
    }

    [Fact]
    public async Task Start_IsTriedAgain_UnderTheSameId()
    {
        int thrown = 0;
        _store.BeforeStart = _ => Interlocked.Exchange(ref thrown, 1) == 0 ? throw new TimeoutException("frozen") : Task.CompletedTask;
        GenerationResult result = await _client.GenerateAsync(Request(), Token);
        Assert.Equal(1, _store.Starts[result.SessionId]);
        Assert.Single(_store.Starts);
    }

    [Fact]
    public async Task OverloadWhileResuming_IsWaitedFor_OverloadAtStartIsNot()
    {
        _store.BeforeStart = _ => throw new RequestRejectedException(RejectionReason.Overloaded, "full", null, 1);
        await Assert.ThrowsAsync<RequestRejectedException>(() => _client.GenerateAsync(Request(), Token));
        _store.BeforeStart = _ => Task.CompletedTask;
        int thrown = 0;
        _store.BeforeEvent = (_, number, _) => number == 2 && Interlocked.Exchange(ref thrown, 1) == 0 ? throw new RequestRejectedException(RejectionReason.Overloaded, "no replica yet") : Task.CompletedTask;
        Assert.Equal(FakeSessionGrain.Events(1), await _client.StreamAsync(Request(), Token).ToListAsync(Token));
    }

    [Fact]
    public async Task OwnFailureOfTheCluster_IsNotRetried()
    {
        int calls = 0;
        _store.BeforeEvent = (_, _, _) => Interlocked.Increment(ref calls) > 0 ? throw new InvalidOperationException("broken invariant") : Task.CompletedTask;
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await _client.StreamAsync(Request(), Token).ToListAsync(Token));
        Assert.Equal(1, calls);
    }

    [Fact]
    public async Task LeavingEarly_CancelsTheSession()
    {
        await foreach (SessionEvent _ in _client.StreamAsync(Request(), Token))
            break;
        Assert.Empty(_store.Requests);
    }

    [Fact]
    public async Task Connect_ByEndpoint_AndByUrl_UsesTheGateway()
    {
        int siloPort = FreePort();
        int gatewayPort = FreePort();
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.ClearProviders();
        builder.UseOrleans(silo => silo.UseLocalhostClustering(siloPort, gatewayPort, null, "cluster", "cluster").Services.AddSingleton(_store));
        using IHost host = builder.Build();
        await host.StartAsync(Token);

        await using (InferenceClient direct = await InferenceClient.ConnectAsync(new() { GatewayEndpoints = [$"127.0.0.1:{gatewayPort}"] }, Token))
        {
            Assert.Equal(TransportKind.Orleans, direct.Transport);
            Assert.Equal(5, (await direct.GenerateAsync(Request(), Token)).Usage.CompletionTokens);
        }
        await using FakeEdge edge = await FakeEdge.StartAsync();
        edge.Gateways = $$"""{"cluster_id":"cluster","service_id":"cluster","gateways":["127.0.0.1:{{gatewayPort}}"],"response_timeout_seconds":10}""";
        await using (InferenceClient learned = await InferenceClient.ConnectAsync(new() { Url = edge.Url, ApiKey = "key" }, Token))
        {
            Assert.Equal(TransportKind.Orleans, learned.Transport);
            Assert.Equal("fake", (await learned.ListModelsAsync(Token)).Single().Name);
            Assert.Equal(5, (await learned.GenerateAsync(Request(), Token)).Usage.CompletionTokens);
        }
        await host.StopAsync(Token);
    }

    [Fact]
    public async Task Connect_ToNothing_TimesOut()
    {
        await Assert.ThrowsAsync<TimeoutException>(() => InferenceClient.ConnectAsync(new() { GatewayEndpoints = ["127.0.0.1:1"], ConnectTimeout = TimeSpan.FromMilliseconds(500) }, Token));
        await Assert.ThrowsAsync<ArgumentException>(() => InferenceClient.ConnectAsync(new() { GatewayEndpoints = ["nonsense"] }, Token));
    }

    public static TheoryData<int> TransientFailures => [0, 1, 2, 3];

    private static readonly Func<Exception>[] Failures =
    [
        () => new TimeoutException("frozen peer"),
        () => new SiloUnavailableException("died"),
        // Orleans alone makes these.
        () => (Exception)Activator.CreateInstance(typeof(OrleansMessageRejectionException), BindingFlags.NonPublic | BindingFlags.Instance, null, ["refused"], null)!,
        () => new EnumerationAbortedException("activated elsewhere"),
    ];

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
