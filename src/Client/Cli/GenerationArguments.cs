using System.CommandLine;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary>What shapes one answer: sampling, seed and where it ends.</summary>
internal sealed class GenerationArguments
{
    private readonly SamplingArguments _sampling = new(defaultTemperature: null);
    private readonly Option<int?> _maxTokens = new("--max-tokens") { Description = "Most tokens to generate." };
    private readonly Option<int> _minTokens = new("--min-tokens") { Description = "No end before this many tokens." };
    private readonly Option<long?> _seed = new("--seed") { Description = "Same seed, same answer." };
    private readonly Option<string[]> _stop = new("--stop") { Description = "Text that ends the answer; repeatable.", DefaultValueFactory = _ => [] };
    private readonly int? _defaultMaxTokens;

    /// <param name="defaultMaxTokens">Limit when none is given; null = the server's.</param>
    public GenerationArguments(int? defaultMaxTokens)
    {
        _defaultMaxTokens = defaultMaxTokens;
        if (defaultMaxTokens is not null)
            _maxTokens.Description += $" Default {defaultMaxTokens}.";
    }

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        _sampling.AddTo(command);
        foreach (Option option in new Option[] { _maxTokens, _minTokens, _seed, _stop })
            command.Add(option);
    }

    /// <summary>A request with model, sampling and limits; the caller adds what to answer.</summary>
    public GenerationRequest Read(ParseResult parsed) => new()
    {
        Model = _sampling.Model(parsed),
        Sampling = _sampling.Sampling(parsed) with { Seed = parsed.GetValue(_seed) },
        Stop = new StopOptions
        {
            MaxTokens = parsed.GetValue(_maxTokens) ?? _defaultMaxTokens,
            MinTokens = parsed.GetValue(_minTokens),
            Strings = [.. parsed.GetValue(_stop)!],
            IgnoreEos = _sampling.IgnoreEos(parsed),
        },
    };
}
