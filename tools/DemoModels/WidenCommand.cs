using System.CommandLine;
using System.Globalization;
using Cluster.DemoModels.Growth;

namespace Cluster.DemoModels;

/// <summary><c>widen</c>: a larger checkpoint that computes the same.</summary>
internal static class WidenCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Hugging Face folder to start from", Required = true };
        var output = new Option<string>("--output") { Description = "Folder to write", Required = true };
        var hidden = new Option<int?>("--hidden") { Description = "Hidden size" };
        var intermediate = new Option<int?>("--intermediate") { Description = "MLP columns" };
        var heads = new Option<int?>("--kv-heads") { Description = "KV heads; query heads grow in the same ratio" };
        var layers = new Option<int?>("--layers") { Description = "Layers" };
        var seed = new Option<int>("--seed") { Description = "Seed of the random weights", DefaultValueFactory = _ => 1 };
        var command = new Command("widen", "Grows a checkpoint to other sizes without changing its function.")
        {
            model, output, hidden, intermediate, heads, layers, seed,
        };
        command.SetAction(arguments => Attempt.Run(() =>
        {
            long parameters = GrownCheckpoint.Write(
                arguments.GetValue(model)!, arguments.GetValue(output)!, arguments.GetValue(hidden), arguments.GetValue(intermediate),
                arguments.GetValue(heads), arguments.GetValue(layers), arguments.GetValue(seed));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{arguments.GetValue(output)}: {parameters:N0} parameters"));
        }));
        return command;
    }
}
