using Cluster.Kernels.Execution;

namespace Cluster.Benchmarks.Llama;

/// <summary>What is compared, and how often.</summary>
internal sealed record LlamaPlan
{
    /// <summary>The reader's llama-bench.</summary>
    public required string Bench { get; init; }

    /// <summary>The reader's llama-batched-bench; null leaves concurrent sequences out.</summary>
    public string? BatchedBench { get; init; }

    /// <summary>GGUF file, for llama.cpp.</summary>
    public required string Model { get; init; }

    /// <summary>What our engine loads: the same GGUF file, or a folder with the same weights.</summary>
    public required string OurModel { get; init; }

    /// <summary>How our engine stores the weights of <see cref="OurModel"/>.</summary>
    public required WeightQuantization Quantization { get; init; }

    /// <summary>Threads of both.</summary>
    public required int Threads { get; init; }

    /// <summary>Rounds; in each of them llama.cpp runs, then our engine.</summary>
    public required int Rounds { get; init; }

    /// <summary>Tokens of the prefill test; 0 leaves it out.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Tokens of the decode test; 0 leaves it out.</summary>
    public required int DecodeTokens { get; init; }

    /// <summary>Sequences of the concurrent test; 0 leaves it out.</summary>
    public required int Streams { get; init; }

    /// <summary>Whether the time from process start to the first token is compared.</summary>
    public required bool FirstToken { get; init; }

    /// <summary>Whether llama.cpp maps the weights file, as it does by itself; otherwise it reads it into memory, huge pages where the system grants them, as we do.</summary>
    public required bool Mapped { get; init; }

    /// <summary>Further arguments of llama.cpp's programs.</summary>
    public required IReadOnlyList<string> LlamaArguments { get; init; }
}
