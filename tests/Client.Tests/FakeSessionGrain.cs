using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Orleans.Runtime;

namespace Cluster.Client.Tests;

/// <summary>What the fake grains of all silos share: it outlives a silo as a real store would.</summary>
internal sealed class FakeStore
{
    public ConcurrentDictionary<string, GenerationRequest> Requests { get; } = new();

    /// <summary>How often each session was started.</summary>
    public ConcurrentDictionary<string, int> Starts { get; } = new();

    /// <summary>Silo that served the last attachment of a session.</summary>
    public ConcurrentDictionary<string, SiloAddress> Homes { get; } = new();

    /// <summary>First events of the attachments, by session.</summary>
    public ConcurrentDictionary<string, ConcurrentQueue<long>> Attachments { get; } = new();

    /// <summary>What an attachment does before event n: waits, throws.</summary>
    public Func<string, long, CancellationToken, Task> BeforeEvent { get; set; } = (_, _, _) => Task.CompletedTask;

    /// <summary>What Start does first.</summary>
    public Func<string, Task> BeforeStart { get; set; } = _ => Task.CompletedTask;
}

/// <summary>A session whose events are a function of its request; five tokens per choice.</summary>
internal sealed class FakeSessionGrain(FakeStore store, ILocalSiloDetails silo) : Grain, ISessionGrain
{
    public const int Tokens = 5;

    private string Id => this.GetPrimaryKeyString();

    public async Task<SessionDescription> Start(GenerationRequest request, CancellationToken cancellationToken)
    {
        await store.BeforeStart(Id);
        if (request.Model != "fake")
            throw new RequestRejectedException(RejectionReason.ModelNotFound, $"The model '{request.Model}' does not exist.", "model");
        store.Requests[Id] = request;
        store.Starts.AddOrUpdate(Id, 1, (_, count) => count + 1);
        return Describe(request);
    }

    public Task<SessionDescription> Describe(string owner, CancellationToken cancellationToken) => Task.FromResult(Describe(Find(owner)));

    public async IAsyncEnumerable<SessionEvent> Attach(string owner, long fromSequenceNumber, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        GenerationRequest request = Find(owner);
        store.Homes[Id] = silo.SiloAddress;
        store.Attachments.GetOrAdd(Id, _ => new()).Enqueue(fromSequenceNumber);
        List<SessionEvent> events = Events(request.Choices);
        for (int i = (int)fromSequenceNumber; i < events.Count; i++)
        {
            await store.BeforeEvent(Id, i, cancellationToken);
            yield return events[i];
        }
    }

    public Task<bool> Cancel(string owner, CancellationToken cancellationToken)
    {
        bool removed = store.Requests.TryGetValue(Id, out GenerationRequest? request) && request.Owner == owner && store.Requests.TryRemove(Id, out _);
        return Task.FromResult(removed);
    }

    public static List<SessionEvent> Events(int choices)
    {
        List<SessionEvent> events = [];
        for (int t = 0; t <= Tokens; t++)
        {
            for (int c = 0; c < choices; c++)
            {
                events.Add(t < Tokens
                    ? new SessionEvent { SequenceNumber = events.Count, Kind = SessionEventKind.Token, Choice = c, TokenId = (c * 100) + t, Text = $"c{c}t{t} " }
                    : new SessionEvent { SequenceNumber = events.Count, Kind = SessionEventKind.Finish, Choice = c, FinishReason = "stop", StopString = "END" });
            }
        }
        events.Add(new SessionEvent { SequenceNumber = events.Count, Kind = SessionEventKind.Usage, Usage = new TokenUsage(3, Tokens * choices, 1) });
        return events;
    }

    private GenerationRequest Find(string owner) => store.Requests.TryGetValue(Id, out GenerationRequest? request) && request.Owner == owner
        ? request
        : throw new RequestRejectedException(RejectionReason.SessionNotFound, $"There is no session '{Id}'.");

    private SessionDescription Describe(GenerationRequest request) => new()
    {
        Id = Id,
        Created = 1_700_000_000,
        Model = request.Model,
        Kind = request.Kind,
        Choices = request.Choices,
        Prompts = [new PromptDescription { TokenIds = [1, 2, 3], Text = "prompt text " }],
        Presentation = request.Presentation,
        ModelFingerprint = "fingerprint",
        Seed = request.Sampling.Seed ?? 42,
    };
}

/// <summary>A topology of one model.</summary>
internal sealed class FakeTopologyGrain : Grain, ITopologyGrain
{
    public Task<ClusterTopology> Get(CancellationToken cancellationToken) => Task.FromResult(new ClusterTopology(
        1, [], [new ModelDescription { Name = "fake", Path = "/models/fake", Fingerprint = "f", MaxModelLength = 512, Architecture = "llama", Created = 1_700_000_000 }], []));

    public Task<ModelDeclaration> Scale(string model, ModelScale scale) => throw new NotSupportedException();

    public Task<SiloDescription> Drain(string silo, bool draining) => throw new NotSupportedException();
}
