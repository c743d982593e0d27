using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Cluster.Grains.Shards;

/// <summary>
/// The sequences a shard knows in the current epoch. A plan is checked as a whole before any of it is applied, so a plan
/// that does not follow from what the shard knows changes nothing.
/// </summary>
internal sealed class SequenceTable(int blockCount, int blockSize)
{
    private readonly Dictionary<int, ShardSequence> _sequences = [];

    /// <summary>Known sequences.</summary>
    public int Count => _sequences.Count;

    /// <summary>Tokens per block.</summary>
    public int BlockSize { get; } = blockSize;

    /// <summary>Finds a known sequence.</summary>
    public bool TryGet(int id, [NotNullWhen(true)] out ShardSequence? sequence) => _sequences.TryGetValue(id, out sequence);

    /// <summary>A sequence of an applied plan.</summary>
    public ShardSequence this[int id] => _sequences[id];

    /// <summary>Applies a plan's difference.</summary>
    /// <exception cref="ShardFailedException">The plan does not follow from what is known; nothing was applied.</exception>
    public void Apply(StepPlan plan)
    {
        Check(plan);
        foreach (int id in plan.Removed)
            _sequences.Remove(id);
        foreach (NewSequence added in plan.Added)
            _sequences[added.Id] = new ShardSequence(added);
        foreach (ScheduledSequence scheduled in plan.Scheduled)
            _sequences[scheduled.Id].Extend(scheduled);
    }

    private void Check(StepPlan plan)
    {
        foreach (NewSequence added in plan.Added)
        {
            if (added.PromptLength < 1 || added.PromptLength > added.Tokens.Length)
                throw Refuse(plan, $"sequence {added.Id} has a prompt of {added.PromptLength} among {added.Tokens.Length} tokens");
            if (_sequences.ContainsKey(added.Id) && !plan.Removed.Contains(added.Id))
                throw Refuse(plan, $"sequence {added.Id} is already known");
        }

        foreach (ScheduledSequence scheduled in plan.Scheduled)
            Check(plan, scheduled);
    }

    private void Check(StepPlan plan, ScheduledSequence scheduled)
    {
        (int tokens, int blocks) = Known(plan, scheduled.Id);
        tokens += scheduled.AppendedTokens.Length + scheduled.Draft.Length;
        blocks += scheduled.NewBlocks.Length;
        int end = scheduled.ComputedTokens + scheduled.NewTokens;
        if (scheduled.ComputedTokens < 0 || scheduled.NewTokens < 1 || end > tokens)
            throw Refuse(plan, $"sequence {scheduled.Id} has {tokens} tokens, rows [{scheduled.ComputedTokens}, {end}) were asked for");
        if (scheduled.Draft.Length > 0 && (!scheduled.Sample || scheduled.Draft.Length >= scheduled.NewTokens))
            throw Refuse(plan, $"sequence {scheduled.Id} has a draft of {scheduled.Draft.Length} in {scheduled.NewTokens} rows, sample is {scheduled.Sample}");
        if (scheduled.Sample && end != tokens)
            throw Refuse(plan, $"sequence {scheduled.Id} draws after {end} of {tokens} tokens");
        if ((long)blocks * BlockSize < end)
            throw Refuse(plan, $"sequence {scheduled.Id} has {blocks} blocks of {BlockSize} for {end} tokens");
        foreach (int block in scheduled.NewBlocks)
        {
            if ((uint)block >= (uint)blockCount)
                throw Refuse(plan, $"sequence {scheduled.Id} names block {block} of {blockCount}");
        }
    }

    private (int Tokens, int Blocks) Known(StepPlan plan, int id)
    {
        foreach (NewSequence added in plan.Added)
        {
            if (added.Id == id)
                return (added.Tokens.Length, 0);
        }

        if (!_sequences.TryGetValue(id, out ShardSequence? sequence) || plan.Removed.Contains(id))
            throw Refuse(plan, $"sequence {id} is not known");
        return (sequence.Length, sequence.BlockCount);
    }

    private static ShardFailedException Refuse(StepPlan plan, string reason) => new($"Step {plan.Step} of epoch {plan.Epoch} is refused: {reason}.");
}

/// <summary>What a shard keeps of a sequence: all that a row of it can need.</summary>
internal sealed class ShardSequence
{
    private int[] _tokens;
    private int[] _blocks = new int[8];

    /// <summary>A sequence without blocks.</summary>
    public ShardSequence(NewSequence added)
    {
        Origin = added;
        Length = added.Tokens.Length;
        _tokens = new int[Length + 32];
        added.Tokens.CopyTo(_tokens);
        Sampling = SamplingMapping.ToParameters(added.Sampling);
        StopTokens = ImmutableCollectionsMarshal.AsArray(added.StopTokens) ?? [];
    }

    /// <summary>The message it came from.</summary>
    public NewSequence Origin { get; }

    /// <summary>How its tokens are drawn.</summary>
    public Kernels.Sampling.SamplingParameters Sampling { get; }

    /// <summary>Tokens that may not be drawn before <see cref="NewSequence.MinTokens"/>.</summary>
    public int[] StopTokens { get; }

    /// <summary>Known tokens.</summary>
    public int Length { get; private set; }

    /// <summary>Known blocks.</summary>
    public int BlockCount { get; private set; }

    /// <summary>Known tokens; what was handed out never changes while a step reads it, later tokens go behind it.</summary>
    public ReadOnlyMemory<int> Tokens => _tokens.AsMemory(0, Length);

    /// <summary>Known tokens and the draft of the last plan; the draft is overwritten by what is committed in its place.</summary>
    public ReadOnlyMemory<int> Drafted => _tokens.AsMemory(0, Length + DraftLength);

    /// <summary>Tokens of the last plan's draft.</summary>
    public int DraftLength { get; private set; }

    /// <summary>Blocks in the order of positions.</summary>
    public ReadOnlySpan<int> Blocks => _blocks.AsSpan(0, BlockCount);

    /// <summary>Tokens after the prompt.</summary>
    public int GeneratedCount => Length - Origin.PromptLength;

    /// <summary>Appends what a step brought.</summary>
    public void Extend(ScheduledSequence scheduled)
    {
        Length = Append(ref _tokens, Length, scheduled.AppendedTokens.AsSpan());
        DraftLength = Append(ref _tokens, Length, scheduled.Draft.AsSpan()) - Length;
        BlockCount = Append(ref _blocks, BlockCount, scheduled.NewBlocks.AsSpan());
    }

    private static int Append(ref int[] array, int count, ReadOnlySpan<int> more)
    {
        if (count + more.Length > array.Length)
            Array.Resize(ref array, Math.Max(array.Length * 2, count + more.Length));
        more.CopyTo(array.AsSpan(count));
        return count + more.Length;
    }
}
