using Cluster.TestKit;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Every checkpoint against the reference implementation's logits and greedy tokens.</summary>
public sealed class ConformanceTests
{
    private const int Continuation = 24;

    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Greedy_tokens_equal_the_reference(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        foreach (ExpectedPrompt prompt in checkpoint.Expected.Prompts)
        {
            var sequence = new TestSequence(prompt.Ids, LoadedShard.Blocks(prompt.Ids.Length + Continuation));
            await shard.StepAsync((sequence, prompt.Ids.Length));
            while (sequence.Tokens.Count < prompt.Ids.Length + Continuation)
                await shard.StepAsync((sequence, 1));
            Assert.Equal(prompt.Greedy, sequence.Tokens[prompt.Ids.Length..]);
        }
    }
}
