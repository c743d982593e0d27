using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>
/// A replica without a model: tokens are a pure function of seed, choice and index, and come in uneven pieces. What a
/// session's calls do beside that is scripted per session.
/// </summary>
internal sealed class FakeReplica : ITargetReplicaGrain
{
    private readonly ConcurrentDictionary<string, ReplicaScript> _scripts = new(StringComparer.Ordinal);

    /// <summary>Text whose bytes the byte model spells, in place of drawn tokens.</summary>
    public const string Text = "Grüße, the quick brown fox jumps over €5 lazy dogs. ";

    public ReplicaScript Script(string sessionId) => _scripts.GetOrAdd(sessionId, _ => new ReplicaScript());

    /// <summary>Tokens of a choice, up to an end of sequence or a number.</summary>
    public static int[] Tokens(long seed, int choice, int most, int eos)
    {
        var tokens = new List<int>();
        while (tokens.Count < most && (tokens.Count == 0 || tokens[^1] != eos))
            tokens.Add(Draw(seed, choice, tokens.Count, eos));
        return [.. tokens];
    }

    public async IAsyncEnumerable<SequenceProgress> Generate(SequenceGroup group, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        ReplicaScript script = Script(group.SessionId);
        script.Groups.Add(group);
        if (script.TryRefuse())
            throw new RequestRejectedException(RejectionReason.Overloaded, "The queue of 4 sequences is full.", retryAfterSeconds: 3);
        script.Enter();
        try
        {
            Dictionary<int, int> next = group.Sequences.ToDictionary(sequence => sequence.Choice, sequence => sequence.Generated.Length);
            while (next.Count > 0)
            {
                await script.BeforeRoundAsync(cancellationToken);
                foreach (int dropped in script.Dropped)
                    next.Remove(dropped);
                foreach (SequenceStart sequence in group.Sequences.Where(sequence => next.ContainsKey(sequence.Choice)))
                {
                    SequenceProgress progress = Advance(group, sequence, next);
                    if (progress.End is not null)
                        next.Remove(sequence.Choice);
                    yield return progress;
                }
            }
        }
        finally
        {
            script.Leave();
        }
    }

    public Task Drop(string sessionId, int choice)
    {
        Script(sessionId).Dropped.Enqueue(choice);
        return Task.CompletedTask;
    }

    public Task<ImmutableArray<ImmutableArray<int>>> Propose(ImmutableArray<SequenceGroup> groups) => throw new NotSupportedException();

    public Task Retire() => Task.CompletedTask;

    public Task<ReplicaLoad> GetLoad() => Task.FromResult(new ReplicaLoad { Ready = true });

    private static SequenceProgress Advance(SequenceGroup group, SequenceStart sequence, Dictionary<int, int> next)
    {
        int first = next[sequence.Choice];
        ImmutableArray<GeneratedToken>.Builder tokens = ImmutableArray.CreateBuilder<GeneratedToken>();
        SequenceEnd? end = null;
        for (int index = first; index < first + 1 + (sequence.Choice % 3) && end is null; index++)
        {
            int token = IsBytes(group) ? Spell(group, sequence, index) : Draw((long)group.Seed, sequence.Choice, index, TestModels.Eos);
            tokens.Add(Score(token, group.TopLogprobs, index));
            end = index + 1 >= group.MinTokens && group.StopTokens.Contains(token) ? SequenceEnd.StopToken
                : index + 1 >= sequence.MaxTokens ? SequenceEnd.Length : null;
        }

        next[sequence.Choice] = first + tokens.Count;
        return new SequenceProgress
        {
            Choice = sequence.Choice,
            FirstIndex = first,
            Tokens = tokens.ToImmutable(),
            End = end,
            CachedTokens = first == 0 ? 1 : 2,
            PromptLogprobs = sequence.ReportPromptLogprobs && first == sequence.Generated.Length
                ? [.. sequence.Prompt.Skip(1).Select(token => new ScoredToken(token, -token, [new ScoredToken(token + 1, -0.5f, [])]))]
                : [],
        };
    }

    private static GeneratedToken Score(int token, int alternatives, int index) => alternatives < 0
        ? new GeneratedToken(token, float.NaN, [])
        : new GeneratedToken(token, -index - 0.5f, [.. Enumerable.Range(1, alternatives).Select(i => new ScoredToken(token + i, -index - i, []))]);

    private static bool IsBytes(SequenceGroup group) => group.StopTokens.Contains(TestModels.ByteEos);

    private static int Spell(SequenceGroup group, SequenceStart sequence, int index)
    {
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(Text);
        return bytes[(int)((group.Seed + (ulong)(7 * sequence.Choice) + (ulong)index) % (ulong)bytes.Length)];
    }

    private static int Draw(long seed, int choice, int index, int eos)
    {
        ulong mixed = unchecked((((ulong)seed * 31) + ((ulong)choice * 1009) + (ulong)index + 1) * 0x9E3779B97F4A7C15);
        mixed ^= mixed >> 29;
        return mixed % 23 == 0 ? eos : 10 + (int)(mixed % 200);
    }
}

/// <summary>What the replica does in the calls of one session, and what it saw.</summary>
internal sealed class ReplicaScript
{
    private int _live;
    private int _refusals;
    private int _rounds;
    private TaskCompletionSource _left = new();

    /// <summary>Calls so far.</summary>
    public ConcurrentBag<SequenceGroup> Groups { get; } = [];

    /// <summary>Choices that the session dropped.</summary>
    public ConcurrentQueue<int> Dropped { get; } = [];

    /// <summary>Called before each round with its number, counted over all calls: tests wait or throw here.</summary>
    public Func<int, CancellationToken, Task>? BeforeRound { get; set; }

    /// <summary>Enumerations that run.</summary>
    public int Live => Volatile.Read(ref _live);

    /// <summary>Completes when an enumeration ends.</summary>
    public Task Left => _left.Task;

    /// <summary>The next calls are refused.</summary>
    public void Refuse(int calls) => Volatile.Write(ref _refusals, calls);

    public bool TryRefuse() => Interlocked.Decrement(ref _refusals) >= 0;

    public void Enter() => Interlocked.Increment(ref _live);

    public void Leave()
    {
        Interlocked.Decrement(ref _live);
        Interlocked.Exchange(ref _left, new TaskCompletionSource()).TrySetResult();
    }

    public Task BeforeRoundAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return BeforeRound?.Invoke(_rounds++, cancellationToken) ?? Task.CompletedTask;
    }
}
