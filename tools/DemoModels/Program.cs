using System.CommandLine;
using Cluster.DemoModels;
using static TorchSharp.torch;

var root = new RootCommand("Makes the checkpoints under models/: training, distillation, growth and GGUF export.");
var check = new Command("check", "Says whether libtorch loads here.");
check.SetAction(_ => NativeLibrary.Run(() => Console.WriteLine($"libtorch computes {ones(2, 3).sum().item<float>()}")));
root.Subcommands.Add(check);
root.Subcommands.Add(TrainCommand.Create());
root.Subcommands.Add(DistillCommand.Create());
root.Subcommands.Add(WidenCommand.Create());
root.Subcommands.Add(GgufCommand.Create());
return root.Parse(args).Invoke();
