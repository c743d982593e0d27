using Cluster.DemoModels.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

/// <summary>Samples text from a model in training: for the log, the model card and a draft's training text.</summary>
internal static class TextGeneration
{
    /// <summary>Continues rows of equally long prompts; a row stops (is padded with end-of-text) after its end-of-text token.</summary>
    /// <param name="temperature">0 = greedy.</param>
    public static List<int>[] Continue(TrainableDecoder model, IReadOnlyList<List<int>> prompts, int count, double temperature, int seed)
    {
        using IDisposable grad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        using Generator generator = new((ulong)seed);
        var past = new TrainableDecoder.Past();
        List<int>[] rows = [.. prompts.Select(prompt => new List<int>(prompt))];
        long[] input = [.. prompts.SelectMany(prompt => prompt.Select(id => (long)id))];
        for (int step = 0; step < count; step++)
        {
            using DisposeScope stepScope = NewDisposeScope();
            Tensor logits = model.Forward(tensor(input, rows.Length, input.Length / rows.Length), past).select(1, -1).to(ScalarType.Float32);
            Tensor chosen = temperature > 0
                ? multinomial((logits / temperature).softmax(-1), 1, generator: generator).squeeze(1)
                : logits.argmax(-1);
            input = chosen.data<long>().ToArray();
            for (int row = 0; row < rows.Length; row++)
                rows[row].Add((int)input[row]);
            foreach ((Tensor keys, Tensor values) in past.Layers)
            {
                keys.MoveToOuterDisposeScope();
                values.MoveToOuterDisposeScope();
            }
            if (rows.Length == 1 && input[0] is var id && (id == BytePairVocabulary.EndOfTextId || id == BytePairVocabulary.MessageEndId))
                break;
        }
        return rows;
    }

    /// <summary>Answers a question as chat, or continues plain text when <paramref name="chat"/> is false. Returns the new text.</summary>
    public static string Sample(TrainableDecoder model, BytePairVocabulary vocabulary, string text, bool chat, double temperature, int count = 160)
    {
        List<int> prompt = chat
            ? Corpus.Encode(new Document(Corpus.OpenChat(text)), vocabulary)
            : Corpus.Encode(new Document([(text, 0)]), vocabulary);
        prompt.RemoveAt(prompt.Count - 1);   // the closing end-of-text
        List<int> row = Continue(model, [prompt], count, temperature, seed: 7)[0];
        return vocabulary.Decode(row.Skip(prompt.Count));
    }
}
