using Cluster.Kernels.Collectives;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Sampling;

namespace Cluster.TestKit;

/// <summary>
/// An engine without a model. It keeps, per cache slot, a digest of everything that its row could see, and draws the next
/// token from the digests of the whole context, as it finds them through the block table. A wrong block, slot, position,
/// token, or a row that was never computed changes the tokens, as it would in a real model.
/// </summary>
public sealed class FakeShardEngine : IShardEngine
{
    private readonly ulong[] _cache;
    private readonly int _vocabulary;
    private int _isRunning;

    /// <summary>An engine with an empty cache.</summary>
    public FakeShardEngine(int blocks = 64, int blockSize = 4, int maxBatchedTokens = 64, int maxSequences = 16, int maxModelLength = 256, int vocabulary = 97)
    {
        BlockCount = blocks;
        BlockSize = blockSize;
        _vocabulary = vocabulary;
        _cache = new ulong[blocks * blockSize];
        Spec = new ShardSpec
        {
            ModelFolder = "fake",
            Device = new DeviceId("cpu", 0),
            MaxModelLength = maxModelLength,
            MaxBatchedTokens = maxBatchedTokens,
            MaxSequences = maxSequences,
            KvCacheBytes = (long)blocks * blockSize * sizeof(ulong),
            BlockSize = blockSize,
        };
    }

    /// <inheritdoc/>
    public ShardSpec Spec { get; }

    /// <inheritdoc/>
    public int BlockCount { get; }

    /// <inheritdoc/>
    public int BlockSize { get; }

    /// <summary>Steps that ran.</summary>
    public int Steps { get; private set; }

    /// <summary>Rows that were computed.</summary>
    public long Rows { get; private set; }

    /// <summary>Most sequences seen in one step.</summary>
    public int LargestStep { get; private set; }

    /// <summary>Called before each step: tests wait or throw here.</summary>
    public Func<ForwardBatch, Task>? BeforeStep { get; set; }

    /// <summary>Whether a whole context is read for each token; benchmarks turn it off.</summary>
    public bool ReadsContext { get; init; } = true;

    /// <summary>The group that was joined last.</summary>
    public IProcessGroup? Group { get; private set; }

    /// <inheritdoc/>
    public void Join(IProcessGroup? group) => Group = group;

    /// <inheritdoc/>
    public async Task<ForwardOutput> ExecuteAsync(ForwardBatch batch)
    {
        if (BeforeStep is { } hook)
            await hook(batch);
        if (Interlocked.Exchange(ref _isRunning, 1) != 0)
            throw new InvalidOperationException("Two steps run at once.");
        try
        {
            return Execute(batch);
        }
        finally
        {
            Volatile.Write(ref _isRunning, 0);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private ForwardOutput Execute(ForwardBatch batch)
    {
        if (batch.Rows > Spec.MaxBatchedTokens || batch.Sequences > Spec.MaxSequences)
            throw new ArgumentException($"{batch.Rows} rows of {batch.Sequences} sequences; the limits are {Spec.MaxBatchedTokens} and {Spec.MaxSequences}.");
        Steps++;
        Rows += batch.Rows;
        LargestStep = Math.Max(LargestStep, batch.Sequences);
        for (int s = 0; s < batch.Sequences; s++)
            StoreRows(batch, s);
        var results = new LogitResult[batch.LogitRows.Length];
        for (int i = 0, s = 0; i < results.Length; i++)
        {
            while (batch.LogitRows[i] >= batch.RowStarts[s + 1])
                s++;
            results[i] = Draw(Digest(batch, s, batch.LogitRows[i]), batch.Logits[i]);
        }

        return new ForwardOutput(results);
    }

    private void StoreRows(ForwardBatch batch, int sequence)
    {
        int end = batch.RowStarts[sequence + 1];
        if (batch.Positions[end - 1] + 1 != batch.ContextLengths[sequence])
            throw new ArgumentException($"The last row is at {batch.Positions[end - 1]}, the context has {batch.ContextLengths[sequence]} tokens.");
        for (int row = batch.RowStarts[sequence]; row < end; row++)
        {
            int position = batch.Positions[row];
            ulong before = position == 0 ? 0 : _cache[Slot(batch, sequence, position - 1)];
            _cache[batch.SlotMapping[row]] = Mix(Mix(before, (ulong)batch.TokenIds[row]), (ulong)position);
        }
    }

    private ulong Digest(ForwardBatch batch, int sequence, int row)
    {
        ulong digest = 0;
        for (int position = ReadsContext ? 0 : batch.Positions[row]; position <= batch.Positions[row]; position++)
            digest = Mix(digest, _cache[Slot(batch, sequence, position)]);
        return digest;
    }

    private int Slot(ForwardBatch batch, int sequence, int position)
    {
        int block = batch.BlockTable[batch.BlockStarts[sequence] + (position / BlockSize)];
        return (block * BlockSize) + (position % BlockSize);
    }

    private LogitResult Draw(ulong digest, LogitRequest request)
    {
        int token = -1;
        if (request.Sampling is { } state)
        {
            token = Pick(Seasoned(digest, state));
            while (state.BannedTokens.Contains(token))
                token = (token + 1) % _vocabulary;
        }

        if (request.TopLogprobs < 0)
            return new LogitResult(token, float.NaN, []);
        int subject = token >= 0 ? token : request.ScoredToken;
        var top = new TokenScore[request.TopLogprobs];
        for (int i = 0; i < top.Length; i++)
            top[i] = new TokenScore((Pick(digest) + i) % _vocabulary, -i - 1);
        return new LogitResult(token, -(float)(Mix(digest, (ulong)subject) % 1000) / 100, top);
    }

    // Everything a draw may depend on; greedy without penalties depends on the context alone.
    private static ulong Seasoned(ulong digest, SamplingState state)
    {
        if (state.Parameters.Temperature > 0)
            digest = Mix(Mix(Mix(digest, state.Seed), (ulong)state.Choice), (ulong)state.Position);
        if (state.Parameters.RepetitionPenalty != 1 || state.Parameters.FrequencyPenalty != 0 || state.Parameters.PresencePenalty != 0)
        {
            digest = Mix(digest, (ulong)state.PromptLength);
            foreach (int token in state.Tokens.Span)
                digest = Mix(digest, (ulong)token);
        }

        return digest;
    }

    private int Pick(ulong digest) => (int)(Mix(digest, 0x5bd1e995) % (ulong)_vocabulary);

    // The finaliser of SplitMix64 over the sum of both.
    private static ulong Mix(ulong state, ulong value)
    {
        ulong z = (state * 31) + value + 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
}
