using System.CommandLine;
using Cluster.DemoModels;
using Cluster.Kernels.Torch;

if (!LibTorch.TryLoad(out string reason))
{
    Console.Error.WriteLine(reason);
    return 1;
}
var root = new RootCommand("Makes the checkpoints under models/: training, distillation, growth and GGUF export.");
root.Subcommands.Add(TrainCommand.Create());
return root.Parse(args).Invoke();
