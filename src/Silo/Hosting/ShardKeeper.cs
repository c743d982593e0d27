using System.Net;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Shards;
using Cluster.Grains.Topology;
using Cluster.Silo.Gateway;

namespace Cluster.Silo.Hosting;

/// <summary>
/// This silo's side of the topology: reports twice a second and after every change what it has, and brings its shards into
/// line with the orders that come back. It only ever asks, so a topology that moves to another silo needs no other way here.
/// </summary>
internal sealed partial class ShardKeeper(
    ShardStock stock,
    ShardGroups groups,
    KnownModels models,
    IReadOnlyList<PreparedModel> prepared,
    ClusterOptions options,
    SiloIdentity identity,
    SiloAddresses addresses,
    IGrainFactory grains,
    RetryPolicy retry,
    TimeProvider time,
    ILogger<ShardKeeper> logger)
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(500);

    private string[] Declared => [.. prepared.Select(model => model.Declaration.Description.Name)];

    /// <summary>A silo that is alone knows what it will be ordered: that is loaded while the rest starts.</summary>
    public void LoadAhead(CancellationToken cancellationToken)
    {
        models.Add(prepared);
        if (options.Redis is not null)
        {
            groups.Listen(new IPEndPoint(identity.Host, options.MeshPort ?? 0), addresses.AdvertisedHost);
            return;
        }

        TopologyPlan plan = TopologyPlan.For(new PlanningState
        {
            Declarations = [.. prepared.Select(model => model.Declaration).OrderBy(declaration => declaration.Description.Name, StringComparer.Ordinal)],
            Devices = [.. Devices().Select(device => new DevicePlace(identity.Name, device))],
        });
        foreach (PlacedReplica replica in plan.Replicas)
        {
            ModelDeclaration declaration = prepared.First(model => model.Declaration.Description.Name == replica.Model).Declaration;
            for (int rank = 0; rank < replica.Places.Length; rank++)
                stock.LoadAhead(declaration, new ShardPart(replica.Model, replica.Layout, rank, replica.Places[rank].Device), cancellationToken);
        }
    }

    /// <summary>Reports until all that this silo is first ordered to have is loaded.</summary>
    /// <exception cref="StartFailedException">A model of this silo's flags cannot be loaded, or the cluster serves another one under its name.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            do
            {
                await TurnAsync(cancellationToken);
                if (stock.FailureOf(Declared) is { } failure)
                    throw failure;
            }
            while (!stock.IsSettled);
        }
        catch (RequestRejectedException refusal)
        {
            throw new StartFailedException(refusal.Message, refusal);
        }
    }

    /// <summary>Goes on reporting until it is cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                Task pause = Task.Delay(Period, time, cancellationToken);
                await (stock.IsSettled ? pause : Task.WhenAny(pause, stock.NextLoad));
                cancellationToken.ThrowIfCancellationRequested();
                await TurnAsync(cancellationToken);
            }
            catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
            {
                LogFailed(exception.GetType().Name, exception.Message);
                await Task.Delay(Period, time, cancellationToken);
            }
        }
    }

    /// <summary>Asks the topology to move this silo's shards elsewhere.</summary>
    public Task<SiloDescription> DrainAsync(CancellationToken cancellationToken) =>
        retry.Call(_ => grains.GetGrain<ITopologyGrain>(0).Drain(identity.Name, draining: true), cancellationToken);

    private async Task TurnAsync(CancellationToken cancellationToken)
    {
        stock.Collect();
        SiloOrders orders = await retry.Call(_ => grains.GetGrain<ITopologyControlGrain>(0).Report(Report()), cancellationToken);
        models.Learn(orders.Declarations);
        await stock.ApplyAsync(orders, cancellationToken);
        // What was loaded ahead is there already.
        if (stock.Collect())
            await retry.Call(_ => grains.GetGrain<ITopologyControlGrain>(0).Report(Report()), cancellationToken);
        else if (!stock.IsSettled)
            await Task.WhenAny(stock.NextLoad, Task.Delay(Period, time, cancellationToken));
    }

    private SiloReport Report() => new()
    {
        Silo = new SiloDescription(identity.Name, [.. Devices()], addresses.HttpUrl) { MeshEndpoint = groups.Endpoint },
        Declarations = [.. prepared.Select(model => model.Declaration)],
        ReplaceDeclarations = options.Redis is null,
        Shards = [.. stock.Reports()],
    };

    private IEnumerable<string> Devices() => DeviceSettings.Of(options).Select(device => device.Device.ToString());

    [LoggerMessage(Level = LogLevel.Warning, Message = "The topology could not be told what this silo has; trying again ({Kind}: {Reason})")]
    private partial void LogFailed(string kind, string reason);
}
