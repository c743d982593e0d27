using System.CommandLine;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary>Options that shape an answer, in the API's spelling.</summary>
internal sealed class SamplingArguments
{
    private readonly Option<string> _model = new("--model", "-m") { Description = "Served model name; default: the only one there is.", DefaultValueFactory = _ => "" };
    private readonly Option<int?> _maxTokens = new("--max-tokens") { Description = "Most tokens to generate." };
    private readonly Option<int> _minTokens = new("--min-tokens") { Description = "No end before this many tokens." };
    private readonly Option<float?> _temperature = new("--temperature") { Description = "0..2; 0 = greedy." };
    private readonly Option<float?> _topP = new("--top-p") { Description = "(0, 1]." };
    private readonly Option<int?> _topK = new("--top-k") { Description = "Keep the k most likely tokens." };
    private readonly Option<float?> _minP = new("--min-p") { Description = "[0, 1]." };
    private readonly Option<float?> _repetitionPenalty = new("--repetition-penalty") { Description = "(0, 2]." };
    private readonly Option<float> _frequencyPenalty = new("--frequency-penalty") { Description = "-2..2." };
    private readonly Option<float> _presencePenalty = new("--presence-penalty") { Description = "-2..2." };
    private readonly Option<long?> _seed = new("--seed") { Description = "Same seed, same answer." };
    private readonly Option<string[]> _stop = new("--stop") { Description = "Text that ends the answer; repeatable.", DefaultValueFactory = _ => [] };
    private readonly Option<bool> _ignoreEos = new("--ignore-eos") { Description = "Go on after the end-of-sequence token." };
    private readonly int? _defaultMaxTokens;

    /// <param name="defaultMaxTokens">Limit when none is given; null = the server's.</param>
    public SamplingArguments(int? defaultMaxTokens)
    {
        _defaultMaxTokens = defaultMaxTokens;
        if (defaultMaxTokens is not null)
            _maxTokens.Description += $" Default {defaultMaxTokens}.";
    }

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in new Option[] { _model, _maxTokens, _minTokens, _temperature, _topP, _topK, _minP, _repetitionPenalty, _frequencyPenalty, _presencePenalty, _seed, _stop, _ignoreEos })
            command.Add(option);
    }

    /// <summary>A request with model, sampling and limits; the caller adds what to answer.</summary>
    public GenerationRequest Read(ParseResult parsed) => new()
    {
        Model = parsed.GetValue(_model)!,
        Sampling = new SamplingOptions
        {
            Temperature = parsed.GetValue(_temperature),
            TopP = parsed.GetValue(_topP),
            TopK = parsed.GetValue(_topK),
            MinP = parsed.GetValue(_minP),
            RepetitionPenalty = parsed.GetValue(_repetitionPenalty),
            FrequencyPenalty = parsed.GetValue(_frequencyPenalty),
            PresencePenalty = parsed.GetValue(_presencePenalty),
            Seed = parsed.GetValue(_seed),
        },
        Stop = new StopOptions
        {
            MaxTokens = parsed.GetValue(_maxTokens) ?? _defaultMaxTokens,
            MinTokens = parsed.GetValue(_minTokens),
            Strings = [.. parsed.GetValue(_stop)!],
            IgnoreEos = parsed.GetValue(_ignoreEos),
        },
    };
}
