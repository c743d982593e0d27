using System.CommandLine;
using Cluster.DemoModels;
using Cluster.Kernels.Torch;
using static TorchSharp.torch;

if (!LibTorch.TryLoad(out string reason))
{
    Console.Error.WriteLine($"no libtorch: {reason}");
    return 3;
}
var root = new RootCommand("Makes the checkpoints under models/: training, distillation, growth and GGUF export.");
var check = new Command("check", "Says whether libtorch loads here.");
check.SetAction(_ => Console.WriteLine($"libtorch computes {ones(2, 3).sum().item<float>()}"));
root.Subcommands.Add(check);
root.Subcommands.Add(TrainCommand.Create());
root.Subcommands.Add(DistillCommand.Create());
return root.Parse(args).Invoke();
