namespace Cluster.Cli.Bench;

/// <summary>One request as measured. Times in seconds.</summary>
internal sealed record RequestRecord
{
    /// <summary>Whether it ended with a finish reason and <c>[DONE]</c>.</summary>
    public required bool Succeeded { get; init; }

    /// <summary>Why not.</summary>
    public string Error { get; init; } = "";

    /// <summary>When it was sent, since the start of the run.</summary>
    public double Start { get; init; }

    /// <summary>Sent to first token.</summary>
    public double Ttft { get; init; }

    /// <summary>Sent to end.</summary>
    public double Latency { get; init; }

    /// <summary>Gaps between chunks that bring tokens.</summary>
    public IReadOnlyList<double> Itl { get; init; } = [];

    /// <summary>Prompt tokens: as the server counts them, else as sent.</summary>
    public int InputTokens { get; init; }

    /// <summary>Generated tokens: from usage, else counted from token ids, else chunks.</summary>
    public int OutputTokens { get; init; }

    /// <summary>Generated text.</summary>
    public string Text { get; init; } = "";

    /// <summary>Seconds per token after the first; null for answers of one token (vLLM's definition).</summary>
    public double? Tpot => OutputTokens > 1 ? (Latency - Ttft) / (OutputTokens - 1) : null;
}
