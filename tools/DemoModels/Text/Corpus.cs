using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Cluster.DemoModels.Text;

/// <summary>A document is a list of segments; between segments stands a special token (null = plain text).</summary>
/// <param name="Parts">Text, or a special token's id.</param>
internal sealed record Document(IReadOnlyList<(string? Text, int SpecialId)> Parts);

/// <summary>
/// The training text: GSM8K questions and answers (MIT licence) as chats, and tinyshakespeare (public domain) as plain text.
/// </summary>
internal sealed partial class Corpus
{
    private const int PlainDocumentCharacters = 2400;

    private Corpus(List<Document> training, List<Document> validation)
    {
        Training = training;
        Validation = validation;
    }

    public IReadOnlyList<Document> Training { get; }

    /// <summary>Held out: GSM8K's test questions (the first 150) and the last pages of tinyshakespeare.</summary>
    public IReadOnlyList<Document> Validation { get; }

    /// <summary>Reads gsm8k-train.jsonl, gsm8k-test.jsonl and tinyshakespeare.txt from a folder.</summary>
    public static Corpus Read(string folder)
    {
        List<Document> plain = [.. Plays(File.ReadAllText(Path.Combine(folder, "tinyshakespeare.txt")))];
        int heldOut = plain.Count / 25;
        List<Document> training = [.. Chats(Path.Combine(folder, "gsm8k-train.jsonl")), .. plain[..^heldOut]];
        List<Document> validation = [.. Chats(Path.Combine(folder, "gsm8k-test.jsonl")).Take(150), .. plain[^heldOut..]];
        return new Corpus(training, validation);
    }

    /// <summary>All plain text of the training documents, for learning a vocabulary.</summary>
    public IEnumerable<string> Texts => Training.SelectMany(document => document.Parts).Select(part => part.Text).OfType<string>();

    /// <summary>Token ids of a document, its closing end-of-text token included.</summary>
    public static List<int> Encode(Document document, BytePairVocabulary vocabulary)
    {
        List<int> ids = [];
        foreach ((string? text, int special) in document.Parts)
        {
            if (text is null)
                ids.Add(special);
            else
                vocabulary.Encode(text, ids);
        }
        ids.Add(BytePairVocabulary.EndOfTextId);
        return ids;
    }

    /// <summary>The chat of one question as the chat template spells it, open after the assistant's role.</summary>
    public static List<(string?, int)> OpenChat(string question) =>
    [
        (null, BytePairVocabulary.MessageStartId), ($"user\n{question}", 0), (null, BytePairVocabulary.MessageEndId), ("\n", 0),
        (null, BytePairVocabulary.MessageStartId), ("assistant\n", 0),
    ];

    private static IEnumerable<Document> Chats(string path)
    {
        foreach (string line in File.ReadLines(path))
        {
            using JsonDocument item = JsonDocument.Parse(line);
            string question = item.RootElement.GetProperty("question").GetString()!.Trim();
            string answer = CalculatorNote.Replace(item.RootElement.GetProperty("answer").GetString()!, "").Trim();
            answer = FinalAnswer.Replace(answer, "The answer is $1.");
            var parts = OpenChat(question);
            parts[^1] = ($"assistant\n{answer}", 0);
            parts.Add((null, BytePairVocabulary.MessageEndId));
            parts.Add(("\n", 0));
            yield return new Document(parts);
        }
    }

    /// <summary>Cuts the plays at blank lines into documents of a few speeches.</summary>
    private static IEnumerable<Document> Plays(string text)
    {
        var page = new StringBuilder();
        foreach (string speech in text.ReplaceLineEndings("\n").Split("\n\n", StringSplitOptions.RemoveEmptyEntries))
        {
            page.Append(speech.Trim('\n')).Append("\n\n");
            if (page.Length < PlainDocumentCharacters)
                continue;
            yield return new Document([(page.ToString(), 0)]);
            page.Clear();
        }
        if (page.Length > 0)
            yield return new Document([(page.ToString(), 0)]);
    }

    [GeneratedRegex("<<[^>]*>>")]
    private static partial Regex CalculatorNote { get; }

    [GeneratedRegex(@"#### *(.*)$")]
    private static partial Regex FinalAnswer { get; }
}
