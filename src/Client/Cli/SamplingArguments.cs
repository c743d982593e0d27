using System.CommandLine;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary>Which model draws tokens and how, in the API's spelling: what every command that generates has.</summary>
internal sealed class SamplingArguments
{
    private readonly Option<string> _model = new("--model", "-m") { Description = "Served model name; default: the only one there is.", DefaultValueFactory = _ => "" };
    private readonly Option<float?> _temperature = new("--temperature") { Description = "0..2; 0 = greedy." };
    private readonly Option<float?> _topP = new("--top-p") { Description = "(0, 1]." };
    private readonly Option<int?> _topK = new("--top-k") { Description = "Keep the k most likely tokens." };
    private readonly Option<float?> _minP = new("--min-p") { Description = "[0, 1]." };
    private readonly Option<float?> _repetitionPenalty = new("--repetition-penalty") { Description = "(0, 2]." };
    private readonly Option<float> _frequencyPenalty = new("--frequency-penalty") { Description = "-2..2." };
    private readonly Option<float> _presencePenalty = new("--presence-penalty") { Description = "-2..2." };
    private readonly Option<bool> _ignoreEos = new("--ignore-eos") { Description = "Go on after the end-of-sequence token." };

    /// <param name="defaultTemperature">Temperature when none is given; null = the model's.</param>
    public SamplingArguments(float? defaultTemperature)
    {
        if (defaultTemperature is not null)
            _temperature.DefaultValueFactory = _ => defaultTemperature;
    }

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in new Option[] { _model, _temperature, _topP, _topK, _minP, _repetitionPenalty, _frequencyPenalty, _presencePenalty, _ignoreEos })
            command.Add(option);
    }

    /// <summary>The model's name; empty = the only one there is.</summary>
    public string Model(ParseResult parsed) => parsed.GetValue(_model)!;

    /// <summary>Whether answers go on after the end-of-sequence token.</summary>
    public bool IgnoreEos(ParseResult parsed) => parsed.GetValue(_ignoreEos);

    /// <summary>How tokens are drawn, without a seed.</summary>
    public SamplingOptions Sampling(ParseResult parsed) => new()
    {
        Temperature = parsed.GetValue(_temperature),
        TopP = parsed.GetValue(_topP),
        TopK = parsed.GetValue(_topK),
        MinP = parsed.GetValue(_minP),
        RepetitionPenalty = parsed.GetValue(_repetitionPenalty),
        FrequencyPenalty = parsed.GetValue(_frequencyPenalty),
        PresencePenalty = parsed.GetValue(_presencePenalty),
    };
}
