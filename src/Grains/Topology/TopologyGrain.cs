using System.Collections.Immutable;
using Cluster.Contracts;
using Orleans.Concurrency;

namespace Cluster.Grains.Topology;

/// <summary>
/// The one place that gives out epochs and knows who is there. Epochs and registrations are written before they are
/// answered; loads are only remembered. A registration counts while the silo process that made it is a member.
/// </summary>
[KeepAlive]
internal sealed class TopologyGrain(
    [PersistentState("topology", "Default")] IPersistentState<TopologyState> state,
    IClusterMembershipService membership) : Grain, ITopologyControlGrain
{
    private readonly Dictionary<string, ReplicaLoad> _loads = new(StringComparer.Ordinal);

    public Task<ClusterTopology> Get(CancellationToken cancellationToken) => Task.FromResult(Snapshot());

    public async Task Join(SiloRegistration registration)
    {
        string name = registration.Silo.Name;
        var silo = new RegisteredSilo(registration, AddressOf(name));
        if (state.State.Silos.TryGetValue(name, out RegisteredSilo? known) && IsSame(known, silo))
            return;
        await ChangeAsync(topology => topology.Silos[name] = silo);
    }

    public async Task<ReplicaAssignment> OpenReplica(string replicaKey)
    {
        ReplicaDescription? replica = Snapshot().Replicas.FirstOrDefault(replica => replica.Key == replicaKey);
        if (replica is null || !TopologySnapshot.IsComplete(replica.Shards))
        {
            throw new RequestRejectedException(
                RejectionReason.Overloaded, $"Replica {replicaKey} has {replica?.Shards.Length ?? 0} loaded shards, which is not all of them.", retryAfterSeconds: 1);
        }

        _loads.Remove(replicaKey);
        long epoch = replica.Epoch + 1;
        await ChangeAsync(topology => topology.Epochs[replicaKey] = epoch);
        return new ReplicaAssignment(replica.Model, epoch, [.. replica.Shards.Select(shard => shard.Key)]);
    }

    public Task ReportLoad(string replicaKey, ReplicaLoad load)
    {
        _loads[replicaKey] = load;
        return Task.CompletedTask;
    }

    private ClusterTopology Snapshot()
    {
        SiloRegistration[] silos = [.. state.State.Silos.Values.Where(IsPresent).Select(silo => silo.Registration)];
        // Both counters only grow, so their sum changes with either.
        long version = state.State.Version + membership.CurrentSnapshot.Version.Value;
        return TopologySnapshot.For(version, silos, state.State.Epochs, _loads);
    }

    // An epoch is given out only after it is written: two activations can never give the same one.
    private async Task ChangeAsync(Action<TopologyState> change)
    {
        change(state.State);
        state.State.Version++;
        try
        {
            await state.WriteStateAsync();
        }
        catch (Exception e)
        {
            // What the store holds now is not known: the next activation reads it. The store's own exception may not exist at the caller.
            DeactivateOnIdle();
            throw new OrleansException($"The topology could not be written: {e.GetType().Name}: {e.Message}");
        }
    }

    private string? AddressOf(string name) => membership.CurrentSnapshot.Members.Values
        .Where(member => member.Name == name && IsMember(member.Status))
        .MaxBy(member => member.SiloAddress.Generation)?.SiloAddress.ToParsableString();

    private bool IsPresent(RegisteredSilo silo) => silo.Address is null || membership.CurrentSnapshot.Members.Values
        .Any(member => IsMember(member.Status) && member.SiloAddress.ToParsableString() == silo.Address);

    private static bool IsMember(SiloStatus status) => status is SiloStatus.Joining or SiloStatus.Active;

    private static bool IsSame(RegisteredSilo known, RegisteredSilo reported) =>
        known.Address == reported.Address
        && known.Registration.Silo.HttpUrl == reported.Registration.Silo.HttpUrl
        && known.Registration.Silo.Devices.SequenceEqual(reported.Registration.Silo.Devices)
        && known.Registration.Models.SequenceEqual(reported.Registration.Models)
        && known.Registration.Shards.SequenceEqual(reported.Registration.Shards);
}
