using System.Collections.Immutable;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Cluster.Client;
using Cluster.Client.Transports;

namespace Cluster.Cli.Bench;

/// <summary><c>cluster bench serve</c>: load on any OpenAI-compatible server, with vLLM's flags and result fields.</summary>
internal sealed class BenchServeCommand : Command
{
    private readonly CliHost _host;
    private readonly ConnectionOptions _connection;
    private readonly SamplingArguments _sampling = new(defaultTemperature: 0);
    private readonly Option<string> _endpoint = new("--endpoint") { Description = "Route, such as /v1/chat/completions.", DefaultValueFactory = _ => "/v1/completions" };
    private readonly Option<int> _count = new("--num-prompts") { Description = "Requests to send.", DefaultValueFactory = _ => 1000 };
    private readonly Option<double> _rate = Number("--request-rate", "Requests per second; inf = all at once.", double.PositiveInfinity);
    private readonly Option<double> _burstiness = Number("--burstiness", "1 = Poisson arrivals, more = steadier, inf = fixed intervals.", 1);
    private readonly Option<int?> _concurrency = new("--max-concurrency") { Description = "Most requests in flight." };
    private readonly Option<int> _inputLength = new("--random-input-len") { Description = "Length of random prompts.", DefaultValueFactory = _ => 1024 };
    private readonly Option<int> _outputLength = new("--random-output-len", "--output-len") { Description = "Tokens to generate per request.", DefaultValueFactory = _ => 128 };
    private readonly Option<int> _prefixLength = new("--random-prefix-len") { Description = "Shared beginning of random prompts.", DefaultValueFactory = _ => 0 };
    private readonly Option<double> _rangeRatio = Number("--random-range-ratio", "Random lengths vary by this share, 0..1.", 0);
    private readonly Option<string> _randomPrompt = new("--random-prompt") { Description = "token-ids or words; default: token-ids, words for chats." };
    private readonly Option<int> _vocabulary = new("--vocab-size") { Description = "Random token ids are below this.", DefaultValueFactory = _ => 1000 };
    private readonly Option<FileInfo?> _dataset = new("--dataset", "--dataset-path") { Description = "JSON lines with turns, question, prompt, instruction or messages, instead of random prompts." };
    private readonly Option<string[]> _goodput = new("--goodput") { Description = "Limits in ms a good request keeps: ttft:200,tpot:50,e2el:5000.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [] };
    private readonly Option<int> _seed = new("--seed") { Description = "Seed of prompts and arrivals.", DefaultValueFactory = _ => 0 };
    private readonly Option<int> _warmups = new("--num-warmups") { Description = "Requests before the measurement.", DefaultValueFactory = _ => 1 };
    private readonly Option<FileInfo?> _save = new("--save-result", "--result-filename") { Description = "File for the result as JSON." };
    private readonly Option<bool> _detailed = new("--save-detailed") { Description = "Add every request's values to the JSON." };
    private readonly Option<bool> _json = new("--json") { Description = "Print the JSON instead of a table." };

    public BenchServeCommand(CliHost host, ConnectionOptions connection) : base("serve", "Sends load to an OpenAI-compatible server and measures it.")
    {
        (_host, _connection) = (host, connection);
        _randomPrompt.AcceptOnlyFromAmong("token-ids", "words");
        _sampling.AddTo(this);
        foreach (Option option in new Option[] { _endpoint, _count, _rate, _burstiness, _concurrency, _inputLength, _outputLength, _prefixLength, _rangeRatio, _randomPrompt, _vocabulary, _dataset, _goodput, _seed, _warmups, _save, _detailed, _json })
            Add(option);
        AtLeast(_count, 1);
        AtLeast(_inputLength, 1);
        AtLeast(_outputLength, 1);
        AtLeast(_prefixLength, 0);
        AtLeast(_vocabulary, 1);
        AtLeast(_warmups, 0);
        _concurrency.Check(value => value is null or >= 1, "at least 1");
        _rate.Check(value => value > 0, "more than 0");
        _burstiness.Check(value => value > 0, "more than 0");
        _rangeRatio.Check(value => value is >= 0 and <= 1, "0..1");
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        BenchOptions options = ReadOptions(parsed);
        if (options.Model.Length == 0)
            options = options with { Model = await OnlyModelAsync(parsed, cancellationToken) };
        ImmutableArray<BenchPrompt> prompts = ReadPrompts(parsed, options);
        using HttpClient http = HttpConnections.Create(_connection.Url(parsed), _connection.ApiKey(parsed));
        var run = new BenchRun(new BenchTarget(http, options, _host.Time), options, _host.Time);
        BenchResult result = await BenchProgress.ShowAsync(_host, prompts.Length, onDone => run.RunAsync(prompts, onDone, cancellationToken));
        byte[] json = BenchReport.Json(result, options, _host.Time.GetLocalNow(), parsed.GetValue(_detailed));
        if (parsed.GetValue(_save) is { } file)
            await File.WriteAllBytesAsync(file.FullName, json, cancellationToken);
        if (parsed.GetValue(_json))
            await _host.Out.WriteLineAsync(System.Text.Encoding.UTF8.GetString(json));
        else
            BenchReport.Write(_host.Tables(), result);
        if (result.Failed == 0)
            return 0;
        await _host.Error.WriteLineAsync($"error: {result.Failed} request(s) failed, the first with: {result.Records.First(record => !record.Succeeded).Error}");
        return ClusterCommand.Failed;
    }

    private BenchOptions ReadOptions(ParseResult parsed) => new()
    {
        Endpoint = parsed.GetValue(_endpoint)!,
        Model = _sampling.Model(parsed),
        PromptCount = parsed.GetValue(_count),
        RequestRate = parsed.GetValue(_rate),
        Burstiness = parsed.GetValue(_burstiness),
        MaxConcurrency = parsed.GetValue(_concurrency),
        Warmups = parsed.GetValue(_warmups),
        OutputLength = parsed.GetValue(_outputLength),
        Sampling = _sampling.Sampling(parsed),
        IgnoreEos = _sampling.IgnoreEos(parsed),
        Seed = parsed.GetValue(_seed),
        Goodput = GoodputTarget.Parse(parsed.GetValue(_goodput)!),
    };

    private ImmutableArray<BenchPrompt> ReadPrompts(ParseResult parsed, BenchOptions options)
    {
        if (parsed.GetValue(_dataset) is { } dataset)
            return DatasetPrompts.Read(dataset.FullName, options.PromptCount);
        bool words = parsed.GetValue(_randomPrompt) is { } kind ? kind == "words" : options.IsChat;
        if (options.IsChat && !words)
            throw new ArgumentException("A chat needs --random-prompt words: token ids cannot be said in a message.");
        return RandomPrompts.Create(options.PromptCount, parsed.GetValue(_inputLength), parsed.GetValue(_prefixLength), parsed.GetValue(_rangeRatio), words ? 0 : parsed.GetValue(_vocabulary), options.Seed);
    }

    private async Task<string> OnlyModelAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using InferenceClient client = await _connection.ConnectAsync(parsed, _host, cancellationToken);
        ImmutableArray<ModelListing> models = await client.ListModelsAsync(cancellationToken);
        return models.Length == 1 ? models[0].Name : throw new ArgumentException($"Give --model; served are: {string.Join(", ", models.Select(model => model.Name))}.");
    }

    private static Option<double> Number(string name, string description, double fallback) => new(name)
    {
        Description = description,
        DefaultValueFactory = _ => fallback,
        CustomParser = Parse,
    };

    private static double Parse(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (text is "inf" or "infinity")
            return double.PositiveInfinity;
        if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && !double.IsNaN(value))
            return value;
        result.AddError($"'{text}' is not a number.");
        return 0;
    }

    private static void AtLeast(Option<int> option, int least) => option.Check(value => value >= least, $"at least {least}");
}
