using Cluster.Kernels.Execution;
using Cluster.Kernels.Sampling;

namespace Cluster.TestKit;

/// <summary>What a fake engine generates for one sequence alone, straight through the engine: no scheduler, no grains.</summary>
public static class FakeReference
{
    /// <summary>Tokens generated after a prompt, one whole prefill and then one row per step.</summary>
    public static async Task<int[]> GenerateAsync(
        IReadOnlyList<int> prompt,
        int maxTokens,
        SamplingParameters? sampling = null,
        ulong seed = 0,
        int choice = 0,
        int[]? stopTokens = null,
        int minTokens = 0)
    {
        int length = prompt.Count + maxTokens;
        await using var engine = new FakeShardEngine(blocks: 1, blockSize: length, maxBatchedTokens: length, maxSequences: 1, maxModelLength: length);
        List<int> tokens = [.. prompt];
        int computed = 0;
        while (tokens.Count < length)
        {
            var state = new SamplingState
            {
                Parameters = sampling ?? new SamplingParameters { Temperature = 0 },
                Seed = seed,
                Choice = choice,
                Position = tokens.Count,
                Tokens = tokens.ToArray(),
                PromptLength = prompt.Count,
                BannedTokens = tokens.Count - prompt.Count < minTokens ? stopTokens ?? [] : [],
            };
            ForwardOutput output = await engine.ExecuteAsync(Batch(tokens, computed, state));
            computed = tokens.Count;
            tokens.Add(output.Results[0].Token);
            if (stopTokens?.Contains(tokens[^1]) == true)
                break;
        }

        return [.. tokens.Skip(prompt.Count)];
    }

    private static ForwardBatch Batch(List<int> tokens, int computed, SamplingState state)
    {
        int rows = tokens.Count - computed;
        int[] positions = [.. Enumerable.Range(computed, rows)];
        return new ForwardBatch
        {
            Rows = rows,
            Sequences = 1,
            TokenIds = [.. tokens.Skip(computed)],
            Positions = positions,
            SlotMapping = positions,
            RowStarts = [0, rows],
            ContextLengths = [tokens.Count],
            BlockTable = [0],
            BlockStarts = [0, 1],
            LogitRows = [rows - 1],
            Logits = [new LogitRequest(state, -1, -1)],
        };
    }
}
