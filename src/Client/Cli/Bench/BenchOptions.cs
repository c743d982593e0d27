using Cluster.Contracts;

namespace Cluster.Cli.Bench;

/// <summary>What <c>bench serve</c> does; defaults are vLLM's where it has one.</summary>
internal sealed record BenchOptions
{
    /// <summary>Path of the route under the URL.</summary>
    public required string Endpoint { get; init; }

    /// <summary>Served model name.</summary>
    public required string Model { get; init; }

    /// <summary>Requests to send. Default 1000.</summary>
    public int PromptCount { get; init; } = 1000;

    /// <summary>Requests per second; infinity = all at once.</summary>
    public double RequestRate { get; init; } = double.PositiveInfinity;

    /// <summary>Shape of the gamma distribution of the intervals: 1 = Poisson, more = steadier, infinity = a fixed interval.</summary>
    public double Burstiness { get; init; } = 1;

    /// <summary>Most requests in flight; null = any number.</summary>
    public int? MaxConcurrency { get; init; }

    /// <summary>Requests sent before the measurement, one after the other.</summary>
    public int Warmups { get; init; } = 1;

    /// <summary>Tokens to generate per request.</summary>
    public int OutputLength { get; init; } = 128;

    /// <summary>How tokens are drawn. Default greedy, so that runs compare.</summary>
    public SamplingOptions Sampling { get; init; } = new() { Temperature = 0 };

    /// <summary>Go on after the end-of-sequence token, so that every answer has its full length.</summary>
    public bool IgnoreEos { get; init; }

    /// <summary>Seed of prompts and intervals.</summary>
    public int Seed { get; init; }

    /// <summary>Limits a good request keeps.</summary>
    public GoodputTarget Goodput { get; init; } = GoodputTarget.None;

    /// <summary>Whether the route is a chat.</summary>
    public bool IsChat => Endpoint.Contains("chat", StringComparison.Ordinal);
}
