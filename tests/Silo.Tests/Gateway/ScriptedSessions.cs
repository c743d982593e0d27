using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Cluster.Silo.Gateway;

namespace Cluster.Silo.Tests.Gateway;

/// <summary>Sessions whose events are written down beforehand; the test decides when they break.</summary>
internal sealed class ScriptedSessions : ISessionAccess
{
    private readonly ConcurrentDictionary<string, (SessionDescription Session, string Owner)> _sessions = new();
    private int _attached;
    private int _left;

    /// <summary>The last request that was started.</summary>
    public GenerationRequest? Request { get; private set; }

    /// <summary>What every session streams.</summary>
    public IReadOnlyList<SessionEvent> Events { get; set; } = Script.Tokens(3);

    /// <summary>What a session accepted, from its request.</summary>
    public Func<SessionDescription, SessionDescription> Describing { get; set; } = session => session;

    /// <summary>Called before each event leaves an attached reader; may throw or wait.</summary>
    public Func<SessionEvent, CancellationToken, Task> Before { get; set; } = (_, _) => Task.CompletedTask;

    /// <summary>Called when a session starts; may throw.</summary>
    public Action<GenerationRequest> Starting { get; set; } = _ => { };

    /// <summary>Readers that came.</summary>
    public int Attached => Volatile.Read(ref _attached);

    /// <summary>Readers that left.</summary>
    public int Left => Volatile.Read(ref _left);

    public Task<SessionDescription> Start(string id, GenerationRequest request, CancellationToken cancellationToken)
    {
        Starting(request);
        Request = request;
        int prompts = request.Kind == RequestKind.Chat ? 1 : request.Prompts.Length;
        SessionDescription session = Describing(new SessionDescription
        {
            Id = id,
            Created = 1_700_000_000,
            Model = request.Model,
            Kind = request.Kind,
            Choices = request.Choices,
            Prompts = [.. Enumerable.Range(0, prompts).Select(i => Describe(request, i))],
            Presentation = request.Presentation,
            ModelFingerprint = "f",
            Seed = 1,
            Logprobs = request.Logprobs,
        });
        return Task.FromResult(_sessions.GetOrAdd(id, (session, request.Owner)).Session);
    }

    public Task<SessionDescription> Describe(string id, string owner, CancellationToken cancellationToken) => Task.FromResult(Find(id, owner));

    public async IAsyncEnumerable<SessionEvent> Attach(
        string id, string owner, long fromSequenceNumber, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Find(id, owner);
        Interlocked.Increment(ref _attached);
        try
        {
            foreach (SessionEvent current in Events.Where(e => e.SequenceNumber >= fromSequenceNumber))
            {
                await Before(current, cancellationToken);
                cancellationToken.ThrowIfCancellationRequested();
                yield return current;
            }
        }
        finally
        {
            Interlocked.Increment(ref _left);
        }
    }

    public Task<bool> Cancel(string id, string owner, CancellationToken cancellationToken) =>
        Task.FromResult(_sessions.TryGetValue(id, out var session) && session.Owner == owner && _sessions.TryRemove(id, out _));

    public Task<ModelDeclaration> Scale(string model, ModelScale scale, CancellationToken cancellationToken) => Task.FromResult(new ModelDeclaration
    {
        Description = new ModelDescription { Name = model, Path = "/models/m", Fingerprint = "f", MaxModelLength = 8, Architecture = "llama" },
        Layout = new ModelLayout(scale.TensorParallelSize ?? 1, scale.PipelineParallelSize ?? 1),
        Replicas = scale.FillDevices ? null : scale.Replicas ?? 1,
        Dtype = "auto",
        Quantization = "none",
        KvCacheDtype = "auto",
    });

    public Task<SiloDescription> Drain(string silo, bool draining, CancellationToken cancellationToken) =>
        Task.FromResult(new SiloDescription(silo, ["cpu:0"], "http://127.0.0.1:8000") { IsDraining = draining });

    public Task<ClusterTopology> GetTopology(CancellationToken cancellationToken) => Task.FromResult(new ClusterTopology(
        7,
        [new SiloDescription("a", ["cpu:0"], "http://127.0.0.1:8000")],
        [],
        [new ReplicaDescription { Key = "m/0", Model = "m", Epoch = 3, Shards = [new ShardDescription("a/cpu:0/m/0/0", "a", "cpu:0", 0)] }]));

    public Task<GatewayList> GetGateways(CancellationToken cancellationToken) =>
        Task.FromResult(new GatewayList("cluster", "cluster", ["127.0.0.1:30000"], 10));

    private static PromptDescription Describe(GenerationRequest request, int index) => request.Kind == RequestKind.Chat
        ? new PromptDescription { TokenIds = [1, 2, 3, 4] }
        : new PromptDescription
        {
            TokenIds = request.Prompts[index].Text is null ? request.Prompts[index].TokenIds : [1, 2],
            Text = request.Prompts[index].Text ?? "",
        };

    private SessionDescription Find(string id, string owner) => _sessions.TryGetValue(id, out var found) && found.Owner == owner
        ? found.Session
        : throw new RequestRejectedException(RejectionReason.SessionNotFound, $"There is no session '{id}'.", "id");
}

/// <summary>Events in canonical order.</summary>
internal static class Script
{
    /// <summary>Texts of generated tokens.</summary>
    public static readonly string[] Words = ["Hello", " \"wörld\"\n", "", " 🚀", " end"];

    /// <summary>So many tokens for every choice, then the finish events, then usage.</summary>
    public static IReadOnlyList<SessionEvent> Tokens(int tokens, int choices = 1, bool logprobs = false)
    {
        var events = new List<SessionEvent>();
        for (int t = 0; t < tokens; t++)
        {
            for (int choice = 0; choice < choices; choice++)
                events.Add(Token(events.Count, choice, t, logprobs));
        }
        for (int choice = 0; choice < choices; choice++)
            events.Add(new SessionEvent { SequenceNumber = events.Count, Kind = SessionEventKind.Finish, Choice = choice, FinishReason = "length" });
        events.Add(new SessionEvent { SequenceNumber = events.Count, Kind = SessionEventKind.Usage, Usage = new TokenUsage(2, tokens * choices, 1) });
        return events;
    }

    /// <summary>A token with its log-probability and one alternative.</summary>
    public static TokenLogprob Logprob(int id, string text, float logprob) => new(
        new TokenAlternative(id, text, [.. System.Text.Encoding.UTF8.GetBytes(text)], logprob),
        [new TokenAlternative(id + 1, text + "!", [.. System.Text.Encoding.UTF8.GetBytes(text + "!")], logprob / 2)]);

    private static SessionEvent Token(int number, int choice, int index, bool logprobs)
    {
        string text = Words[index % Words.Length];
        return new SessionEvent
        {
            SequenceNumber = number,
            Kind = SessionEventKind.Token,
            Choice = choice,
            TokenId = 100 + index,
            Text = text,
            Logprob = logprobs ? Logprob(100 + index, text.Length == 0 ? "�" : text, -0.5f) : null,
        };
    }
}
