using System.Globalization;
using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Execution;

/// <summary>Checks every index of a batch against the shard before any memory is touched by it.</summary>
/// <param name="spec">Sizes the shard was loaded with.</param>
/// <param name="vocabulary">Number of token ids.</param>
/// <param name="blocks">Blocks of the KV cache.</param>
internal sealed class BatchValidator(ShardSpec spec, int vocabulary, int blocks)
{
    /// <summary>Throws for the first violation.</summary>
    /// <exception cref="BatchRejectedException">The batch does not fit.</exception>
    public void Check(ForwardBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Within("Rows", batch.Rows, 1, spec.MaxBatchedTokens);
        Within("Sequences", batch.Sequences, 1, spec.MaxSequences);
        CheckLengths(batch);
        CheckRows(batch);
        for (int sequence = 0; sequence < batch.Sequences; sequence++)
            CheckSequence(batch, sequence);
        Equal("RowStarts[0]", batch.RowStarts[0], 0);
        Equal($"RowStarts[{batch.Sequences}]", batch.RowStarts[batch.Sequences], batch.Rows);
        for (int i = 0; i < batch.LogitRows.Length; i++)
        {
            Within($"LogitRows[{i}]", batch.LogitRows[i], 0, batch.Rows - 1);
            CheckRequest($"Logits[{i}]", batch.Logits[i]);
        }
    }

    private static void CheckLengths(ForwardBatch batch)
    {
        AtLeast("TokenIds", batch.TokenIds, batch.Rows);
        AtLeast("Positions", batch.Positions, batch.Rows);
        AtLeast("SlotMapping", batch.SlotMapping, batch.Rows);
        AtLeast("RowStarts", batch.RowStarts, batch.Sequences + 1);
        AtLeast("ContextLengths", batch.ContextLengths, batch.Sequences);
        AtLeast("BlockStarts", batch.BlockStarts, batch.Sequences + 1);
        ArgumentNullException.ThrowIfNull(batch.LogitRows);
        ArgumentNullException.ThrowIfNull(batch.Logits);
        Equal("Logits.Length", batch.Logits.Length, batch.LogitRows.Length);
        Equal("BlockStarts[0]", batch.BlockStarts[0], 0);
    }

    private void CheckRows(ForwardBatch batch)
    {
        int slots = blocks * spec.BlockSize;
        for (int row = 0; row < batch.Rows; row++)
        {
            if ((uint)batch.TokenIds[row] >= (uint)vocabulary)
                Within($"TokenIds[{row}]", batch.TokenIds[row], 0, vocabulary - 1);
            if ((uint)batch.SlotMapping[row] >= (uint)slots)
                Within($"SlotMapping[{row}]", batch.SlotMapping[row], 0, slots - 1);
        }
    }

    private void CheckSequence(ForwardBatch batch, int sequence)
    {
        int firstRow = batch.RowStarts[sequence], endRow = batch.RowStarts[sequence + 1];
        Within($"RowStarts[{sequence}]", firstRow, 0, batch.Rows - 1);
        Within($"RowStarts[{sequence + 1}]", endRow, firstRow + 1, batch.Rows);
        int context = batch.ContextLengths[sequence];
        Within($"ContextLengths[{sequence}]", context, endRow - firstRow, spec.MaxModelLength);
        for (int row = firstRow; row < endRow; row++)
        {
            if ((uint)batch.Positions[row] >= (uint)context)
                Within($"Positions[{row}]", batch.Positions[row], 0, context - 1);
        }
        int firstBlock = batch.BlockStarts[sequence], endBlock = batch.BlockStarts[sequence + 1];
        int needed = (context + spec.BlockSize - 1) / spec.BlockSize;
        Within($"BlockStarts[{sequence + 1}]", endBlock, firstBlock + needed, batch.BlockTable?.Length ?? 0);
        for (int entry = firstBlock; entry < endBlock; entry++)
        {
            if ((uint)batch.BlockTable![entry] >= (uint)blocks)
                Within($"BlockTable[{entry}]", batch.BlockTable[entry], 0, blocks - 1);
        }
    }

    private void CheckRequest(string field, LogitRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        Within($"{field}.ScoredToken", request.ScoredToken, -1, vocabulary - 1);
        Within($"{field}.TopLogprobs", request.TopLogprobs, -1, vocabulary);
        if (request.Sampling is { } state)
        {
            CheckParameters($"{field}.Sampling.Parameters", state.Parameters);
            Within($"{field}.Sampling.PromptLength", state.PromptLength, 0, state.Tokens.Length);
            foreach (int token in state.BannedTokens)
                Within($"{field}.Sampling.BannedTokens", token, 0, vocabulary - 1);
            if (LogitProcessor.ReadsTokens(state.Parameters) && state.Tokens.Span.ContainsAnyExceptInRange(0, vocabulary - 1))
                throw new BatchRejectedException($"{field}.Sampling.Tokens", $"token ids 0..{vocabulary - 1}", "another id");
        }
    }

    private void CheckParameters(string field, SamplingParameters parameters)
    {
        Between($"{field}.Temperature", parameters.Temperature, 0, 1e6f);
        Between($"{field}.TopP", parameters.TopP, float.Epsilon, 1);
        Between($"{field}.MinP", parameters.MinP, 0, 1);
        Between($"{field}.RepetitionPenalty", parameters.RepetitionPenalty, 1e-6f, 1e6f);
        Between($"{field}.FrequencyPenalty", parameters.FrequencyPenalty, -1e6f, 1e6f);
        Between($"{field}.PresencePenalty", parameters.PresencePenalty, -1e6f, 1e6f);
        foreach ((int token, float bias) in parameters.LogitBias)
        {
            Within($"{field}.LogitBias", token, 0, vocabulary - 1);
            Between($"{field}.LogitBias[{token}]", bias, -1e6f, 1e6f);
        }
    }

    private static void Within(string field, int value, int minimum, int maximum)
    {
        if (value < minimum || value > maximum)
            throw new BatchRejectedException(field, $"{minimum}..{maximum}", value.ToString(CultureInfo.InvariantCulture));
    }

    private static void Between(string field, float value, float minimum, float maximum)
    {
        if (!(value >= minimum && value <= maximum))
            throw new BatchRejectedException(field, string.Create(CultureInfo.InvariantCulture, $"{minimum}..{maximum}"), value.ToString(CultureInfo.InvariantCulture));
    }

    private static void Equal(string field, int value, int expected) => Within(field, value, expected, expected);

    private static void AtLeast(string field, int[] array, int length)
    {
        if (array is null || array.Length < length)
            throw new BatchRejectedException($"{field}.Length", $"at least {length}", array is null ? "null" : array.Length.ToString(CultureInfo.InvariantCulture));
    }
}
