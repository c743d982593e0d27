using System.CommandLine;
using System.Globalization;
using Cluster.Grains.Text;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Models.Gguf;

namespace Cluster.Benchmarks.Quality;

/// <summary><c>perplexity</c>: what a model thinks of a text, per way of keeping its weights.</summary>
internal static class PerplexityCommand
{
    public static Task<int> RunAsync(string[] arguments)
    {
        var models = new Argument<string[]>("MODEL") { Description = "Checkpoint folders or GGUF files", Arity = ArgumentArity.OneOrMore };
        var text = new Option<FileInfo>("--text") { Description = "UTF-8 text to score", Required = true };
        var quantization = new Option<WeightQuantization[]>("--quantization")
        {
            Description = "none, int8, int4; several are run one after the other", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [WeightQuantization.None],
        };
        var context = new Option<int>("--context") { Description = "Tokens of a chunk; its second half is scored", DefaultValueFactory = _ => 512 };
        var tail = new Option<double>("--tail") { Description = "Score only this last part of the text, such as 0.1", DefaultValueFactory = _ => 1 };
        var root = new RootCommand("Perplexity with the real engine.") { models, text, quantization, context, tail };
        root.SetAction(async parsed =>
        {
            string content = await File.ReadAllTextAsync(parsed.GetValue(text)!.FullName);
            content = content[(int)(content.Length * (1 - Math.Clamp(parsed.GetValue(tail), 0, 1)))..];
            foreach (string model in parsed.GetValue(models)!)
                foreach (WeightQuantization kind in parsed.GetValue(quantization)!)
                    await PrintAsync(model, content, kind, parsed.GetValue(context));
        });
        return root.Parse(arguments).InvokeAsync();
    }

    private static async Task PrintAsync(string model, string text, WeightQuantization quantization, int context)
    {
        Perplexity result = await Perplexity.MeasureAsync(model, TokenizerOf(model), text, quantization, context);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{model} ({Checkpoint.ReadIndex(model).Types}) {quantization.ToString().ToLowerInvariant()}: {result.NatsPerToken:0.00000} nats per token, perplexity {Math.Exp(result.NatsPerToken):0.0000} ({result.Scored} tokens scored in chunks of {context})"));
    }

    private static Tokenizer TokenizerOf(string model)
    {
        if (Checkpoint.FindGguf(model) is not { } path)
            return Tokenizer.Load(model);
        using GgufFile file = GgufFile.Open(path);
        return Tokenizer.TryCreate(file.Fields) ?? throw new InvalidDataException($"{model} has no vocabulary.");
    }
}
