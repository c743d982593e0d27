using System.CommandLine;
using Cluster.DemoModels.Text;
using Cluster.DemoModels.Training;
using static TorchSharp.torch;

namespace Cluster.DemoModels;

/// <summary><c>train</c>: learns a vocabulary, then the bundled target model.</summary>
internal static class TrainCommand
{
    public static Command Create()
    {
        var text = new Option<string>("--text") { Description = "Folder of gsm8k-train.jsonl, gsm8k-test.jsonl, tinyshakespeare.txt", Required = true };
        var output = new Option<string>("--output") { Description = "Hugging Face folder to write", Required = true };
        var work = new Option<string>("--work") { Description = "Folder of log and training checkpoint", Required = true };
        var minutes = new Option<double>("--minutes") { Description = "Wall time of the run", DefaultValueFactory = _ => 45 };
        var vocabulary = new Option<int>("--vocabulary") { Description = "Tokens in the vocabulary", DefaultValueFactory = _ => 3072 };
        var batch = new Option<int>("--batch-tokens") { DefaultValueFactory = _ => 4096 };
        var sequence = new Option<int>("--sequence") { DefaultValueFactory = _ => 256 };
        var rate = new Option<float>("--learning-rate") { DefaultValueFactory = _ => 2e-3f };
        var threads = new Option<int>("--threads") { DefaultValueFactory = _ => Environment.ProcessorCount };
        var resume = new Option<bool>("--resume") { Description = "Continue from the work folder's checkpoint" };
        var command = new Command("train", "Trains the bundled target model.")
        {
            text, output, work, minutes, vocabulary, batch, sequence, rate, threads, resume,
        };
        command.SetAction(arguments => NativeLibrary.Run(() =>
        {
            set_num_threads(arguments.GetValue(threads));
            Corpus corpus = Corpus.Read(arguments.GetValue(text)!);
            BytePairVocabulary learned = BytePairTraining.Learn(corpus.Texts, arguments.GetValue(vocabulary));
            using var model = new TrainableDecoder(ModelShape.Target(learned.Size), seed: 1);
            var run = new TrainingRun(
                new TrainingOptions(
                    arguments.GetValue(minutes), arguments.GetValue(batch), arguments.GetValue(sequence), arguments.GetValue(rate),
                    Seed: 1, CheckpointMinutes: 3, arguments.GetValue(work)!, arguments.GetValue(output)!),
                model, learned, corpus);
            if (arguments.GetValue(resume))
                run.Resume();
            run.Run();
        }));
        return command;
    }
}
