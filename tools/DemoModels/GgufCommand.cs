using System.CommandLine;
using Cluster.DemoModels.Gguf;

namespace Cluster.DemoModels;

/// <summary><c>gguf</c>: one file for llama.cpp and its relatives.</summary>
internal static class GgufCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Hugging Face folder to export", Required = true };
        var output = new Option<string>("--output") { Description = "File to write", Required = true };
        var type = new Option<GgufType>("--type") { Description = "F16, BF16, Q8_0 or Q4_0", Required = true };
        var command = new Command("gguf", "Exports a checkpoint, tokenizer included, as a GGUF file.") { model, output, type };
        command.SetAction(arguments => Attempt.Run(() =>
            GgufExport.Write(arguments.GetValue(model)!, arguments.GetValue(output)!, arguments.GetValue(type))));
        return command;
    }
}
