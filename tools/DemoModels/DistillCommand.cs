using System.CommandLine;
using Cluster.DemoModels.Checkpoints;
using Cluster.DemoModels.Text;
using Cluster.DemoModels.Training;
using static TorchSharp.torch;

namespace Cluster.DemoModels;

/// <summary><c>distill</c>: trains the bundled draft on the distribution of a target, over the corpus and over text the target wrote.</summary>
internal static class DistillCommand
{
    private const int PromptTokens = 24, RowsPerBatch = 32, GeneratedTokens = 200;

    public static Command Create()
    {
        var target = new Option<string>("--target") { Description = "Folder that train wrote", Required = true };
        var text = new Option<string>("--text") { Description = "The text folder that the target was trained on", Required = true };
        var output = new Option<string>("--output") { Description = "Hugging Face folder to write", Required = true };
        var work = new Option<string>("--work") { Description = "Folder of log and training checkpoint", Required = true };
        var minutes = new Option<double>("--minutes") { Description = "Wall time of the run", DefaultValueFactory = _ => 20 };
        var generated = new Option<int>("--generated") { Description = "Documents that the target writes", DefaultValueFactory = _ => 320 };
        var threads = new Option<int>("--threads") { DefaultValueFactory = _ => Environment.ProcessorCount };
        var resume = new Option<bool>("--resume") { Description = "Continue from the work folder's checkpoint" };
        var command = new Command("distill", "Trains the bundled draft model.") { target, text, output, work, minutes, generated, threads, resume };
        command.SetAction(arguments => NativeLibrary.Run(() =>
        {
            set_num_threads(arguments.GetValue(threads));
            using TrainableDecoder teacher = HubFolder.Read(arguments.GetValue(target)!);
            Corpus corpus = Corpus.Read(arguments.GetValue(text)!);
            // Learning is deterministic: the same text and size give the target's vocabulary again.
            BytePairVocabulary vocabulary = BytePairTraining.Learn(corpus.Texts, teacher.Shape.Vocabulary);
            using var draft = new TrainableDecoder(ModelShape.Draft(vocabulary.Size), seed: 2);
            var options = new TrainingOptions(
                arguments.GetValue(minutes), BatchTokens: 2048, SequenceLength: 256, LearningRate: 4e-3f, Seed: 3, CheckpointMinutes: 4,
                arguments.GetValue(work)!, arguments.GetValue(output)!);
            var run = new TrainingRun(options, draft, vocabulary, corpus, teacher, Write(teacher, corpus, vocabulary, arguments.GetValue(generated)));
            if (arguments.GetValue(resume))
                run.Resume();
            run.Run();
        }));
        return command;
    }

    /// <summary>Documents that the teacher continues from the beginnings of training documents.</summary>
    private static List<List<int>> Write(TrainableDecoder teacher, Corpus corpus, BytePairVocabulary vocabulary, int count)
    {
        List<List<int>> prompts = [.. corpus.Training.Select(document => Corpus.Encode(document, vocabulary))
            .Where(ids => ids.Count > PromptTokens).Select(ids => ids[..PromptTokens])];
        new Random(4).Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(prompts));
        List<List<int>> written = [];
        for (int start = 0; start + RowsPerBatch <= Math.Min(count, prompts.Count); start += RowsPerBatch)
        {
            foreach (List<int> row in TextGeneration.Continue(teacher, prompts[start..(start + RowsPerBatch)], GeneratedTokens, 0.8, seed: start))
            {
                int end = row.IndexOf(BytePairVocabulary.EndOfTextId);
                written.Add(end < 0 ? [.. row, BytePairVocabulary.EndOfTextId] : row[..(end + 1)]);
            }
            Console.WriteLine($"{written.Count} documents written by the target");
        }
        return written;
    }
}
