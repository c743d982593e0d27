using System.CommandLine;
using Cluster.Kernels.Execution;

namespace Cluster.Benchmarks.Llama;

/// <summary>Arguments of the <c>llama</c> command.</summary>
internal static class LlamaCommand
{
    private static readonly Option<string> Bench = new("--llama-bench") { Description = "Your llama-bench", Required = true };
    private static readonly Option<string?> BatchedBench = new("--llama-batched-bench") { Description = "Your llama-batched-bench; without it concurrent sequences are not compared" };
    private static readonly Option<string> Model = new("--model") { Description = "GGUF file for llama.cpp (tools/DemoModels gguf makes one)", Required = true };
    private static readonly Option<string?> Folder = new("--folder") { Description = "Folder of the same weights for our engine (default: the GGUF file)" };
    private static readonly Option<WeightQuantization> Quantization = new("--quantization") { Description = "How our engine stores a folder's weights: none, int8 or int4" };
    private static readonly Option<int> Threads = Count("--threads", "Threads of both", Environment.ProcessorCount, least: 1);
    private static readonly Option<int> Rounds = Count("--rounds", "Rounds", 5, least: 1);
    private static readonly Option<int> PromptTokens = Count("--prompt-tokens", "Tokens of the prefill test; 0 = none", 512, least: 0);
    private static readonly Option<int> DecodeTokens = Count("--decode-tokens", "Tokens of the decode test; 0 = none", 32, least: 0);
    private static readonly Option<int> Streams = Count("--streams", "Sequences of the concurrent test; 0 = none", 32, least: 0);
    private static readonly Option<bool> FirstToken = new("--first-token") { Description = "Also compare the time from process start to the first token" };
    private static readonly Option<bool> Mapped = new("--mapped") { Description = "Let llama.cpp map the file, as it does by itself, instead of reading it into memory (huge pages) as we do" };
    private static readonly Option<string> LlamaArguments = new("--llama-arguments") { Description = "Further arguments of llama.cpp's programs, separated by spaces", DefaultValueFactory = _ => "" };

    /// <summary>Runs the comparison; returns the process's exit code.</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        var command = new RootCommand("Our engine against the llama.cpp that you have, alternating, same weights and threads.")
        {
            Bench, BatchedBench, Model, Folder, Threads, Rounds, Quantization, PromptTokens, DecodeTokens, Streams, FirstToken, Mapped, LlamaArguments,
        };
        command.SetAction(async parsed =>
        {
            try
            {
                await new LlamaComparison(Plan(parsed)).RunAsync();
                return 0;
            }
            catch (Exception exception) when (exception is IOException or InvalidDataException or ArgumentException)
            {
                await Console.Error.WriteLineAsync(exception.Message);
                return 1;
            }
        });
        return await command.Parse(arguments).InvokeAsync();
    }

    private static LlamaPlan Plan(ParseResult parsed) => new()
    {
        Bench = parsed.GetValue(Bench)!,
        BatchedBench = parsed.GetValue(BatchedBench),
        Model = parsed.GetValue(Model)!,
        OurModel = parsed.GetValue(Folder) ?? parsed.GetValue(Model)!,
        Quantization = parsed.GetValue(Quantization),
        Threads = parsed.GetValue(Threads),
        Rounds = parsed.GetValue(Rounds),
        PromptTokens = parsed.GetValue(PromptTokens),
        DecodeTokens = parsed.GetValue(DecodeTokens),
        Streams = parsed.GetValue(Streams),
        FirstToken = parsed.GetValue(FirstToken),
        Mapped = parsed.GetValue(Mapped),
        LlamaArguments = parsed.GetValue(LlamaArguments)!.Split(' ', StringSplitOptions.RemoveEmptyEntries),
    };

    private static Option<int> Count(string name, string description, int usual, int least)
    {
        var option = new Option<int>(name) { Description = description, DefaultValueFactory = _ => usual };
        option.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() < least)
                result.AddError($"{name} is {result.GetValueOrDefault<int>()}; the least is {least}.");
        });
        return option;
    }
}
