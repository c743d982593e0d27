using Cluster.Kernels.Execution;

namespace Cluster.Grains.Shards;

/// <summary>
/// Makes a plan's flat arrays. They are reused: a batch is valid until the next <see cref="Build"/> of the same builder,
/// so every step in flight has its own builder.
/// </summary>
internal sealed class ForwardBatchBuilder
{
    private int[] _tokenIds = [];
    private int[] _positions = [];
    private int[] _slots = [];
    private int[] _rowStarts = [];
    private int[] _contextLengths = [];
    private int[] _blockTable = [];
    private int[] _blockStarts = [];
    private int[] _logitRows = [];
    private LogitRequest[] _logits = [];
    private int _logitCount;

    /// <summary>Makes the batch of a plan that was applied to <paramref name="table"/>.</summary>
    public ForwardBatch Build(StepPlan plan, SequenceTable table)
    {
        Reserve(plan, table);
        int row = 0;
        int block = 0;
        for (int i = 0; i < plan.Scheduled.Length; i++)
        {
            ScheduledSequence scheduled = plan.Scheduled[i];
            ShardSequence sequence = table[scheduled.Id];
            (_rowStarts[i], _blockStarts[i]) = (row, block);
            int end = scheduled.ComputedTokens + scheduled.NewTokens;
            int blocks = (end + table.BlockSize - 1) / table.BlockSize;
            sequence.Blocks[..blocks].CopyTo(_blockTable.AsSpan(block));
            FillRows(scheduled, sequence, table.BlockSize, row);
            AddLogits(scheduled, sequence, row);
            _contextLengths[i] = end;
            row += scheduled.NewTokens;
            block += blocks;
        }

        (_rowStarts[plan.Scheduled.Length], _blockStarts[plan.Scheduled.Length]) = (row, block);
        return Seal(row, plan.Scheduled.Length);
    }

    private void FillRows(ScheduledSequence scheduled, ShardSequence sequence, int blockSize, int row)
    {
        int start = scheduled.ComputedTokens;
        sequence.Drafted.Span.Slice(start, scheduled.NewTokens).CopyTo(_tokenIds.AsSpan(row));
        ReadOnlySpan<int> blocks = sequence.Blocks;
        for (int i = 0; i < scheduled.NewTokens; i++)
        {
            int position = start + i;
            _positions[row + i] = position;
            _slots[row + i] = (blocks[position / blockSize] * blockSize) + (position % blockSize);
        }
    }

    // A row at position p scores the prompt token at p + 1; the last row of known tokens draws the next one, and each row of a draft
    // the one that would follow it.
    private void AddLogits(ScheduledSequence scheduled, ShardSequence sequence, int row)
    {
        NewSequence origin = sequence.Origin;
        if (origin.PromptTopLogprobs >= 0)
        {
            ReadOnlySpan<int> tokens = sequence.Tokens.Span;
            int end = Math.Min(scheduled.ComputedTokens + scheduled.NewTokens, origin.PromptLength - 1);
            for (int position = scheduled.ComputedTokens; position < end; position++)
                AddLogit(row + position - scheduled.ComputedTokens, new LogitRequest(null, tokens[position + 1], origin.PromptTopLogprobs));
        }

        if (!scheduled.Sample)
            return;
        int last = row + scheduled.NewTokens - 1 - scheduled.Draft.Length;
        for (int drafted = 0; drafted <= scheduled.Draft.Length; drafted++)
            AddLogit(last + drafted, new LogitRequest(SamplingMapping.NextDraw(sequence, drafted), -1, origin.TopLogprobs));
    }

    private void AddLogit(int row, LogitRequest request)
    {
        _logitRows[_logitCount] = row;
        _logits[_logitCount++] = request;
    }

    private static int LogitsOf(ScheduledSequence scheduled, NewSequence origin)
    {
        int last = Math.Min(scheduled.ComputedTokens + scheduled.NewTokens, origin.PromptLength - 1);
        int scored = origin.PromptTopLogprobs < 0 ? 0 : Math.Max(0, last - scheduled.ComputedTokens);
        return scored + (scheduled.Sample ? 1 + scheduled.Draft.Length : 0);
    }

    private void Reserve(StepPlan plan, SequenceTable table)
    {
        int rows = 0;
        int blocks = 0;
        int logits = 0;
        foreach (ScheduledSequence scheduled in plan.Scheduled)
        {
            rows += scheduled.NewTokens;
            blocks += (scheduled.ComputedTokens + scheduled.NewTokens + table.BlockSize - 1) / table.BlockSize;
            logits += LogitsOf(scheduled, table[scheduled.Id].Origin);
        }

        Grow(ref _tokenIds, rows);
        Grow(ref _positions, rows);
        Grow(ref _slots, rows);
        Grow(ref _rowStarts, plan.Scheduled.Length + 1);
        Grow(ref _blockStarts, plan.Scheduled.Length + 1);
        Grow(ref _contextLengths, plan.Scheduled.Length);
        Grow(ref _blockTable, blocks);
        _logitCount = 0;
        if (_logitRows.Length != logits)
            (_logitRows, _logits) = (new int[logits], new LogitRequest[logits]); // Their length is the number of logits.
    }

    private static void Grow(ref int[] array, int length)
    {
        if (array.Length < length)
            array = new int[Math.Max(length, array.Length * 2)];
    }

    private ForwardBatch Seal(int rows, int sequences) => new()
    {
        Rows = rows,
        Sequences = sequences,
        TokenIds = _tokenIds,
        Positions = _positions,
        SlotMapping = _slots,
        RowStarts = _rowStarts,
        ContextLengths = _contextLengths,
        BlockTable = _blockTable,
        BlockStarts = _blockStarts,
        LogitRows = _logitRows,
        Logits = _logits,
    };
}
