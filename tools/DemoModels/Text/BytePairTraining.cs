using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Cluster.DemoModels.Text;

/// <summary>
/// Learns a byte-level BPE vocabulary: again and again the most frequent pair of neighbouring tokens becomes one token
/// (Sennrich et al., arXiv 1508.07909). Counts are kept per distinct word and repaired after each merge.
/// </summary>
internal sealed class BytePairTraining
{
    private readonly List<(List<int> Symbols, int Count)> _words = [];
    private readonly Dictionary<(int, int), long> _counts = [];
    private readonly Dictionary<(int, int), HashSet<int>> _wordsOfPair = [];

    private BytePairTraining(IEnumerable<string> texts)
    {
        Dictionary<string, int> wordCounts = [];
        foreach (string text in texts)
            foreach (ValueMatch match in BytePairVocabulary.Splitter.EnumerateMatches(text))
                CollectionsMarshal.GetValueRefOrAddDefault(wordCounts, text.Substring(match.Index, match.Length), out _)++;
        foreach ((string word, int count) in wordCounts.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            List<int> symbols = [.. Encoding.UTF8.GetBytes(word).Select(value => BytePairVocabulary.FirstByteId + value)];
            _words.Add((symbols, count));
            Count(_words.Count - 1, sign: 1);
        }
    }

    /// <summary>Learns from texts until the vocabulary has <paramref name="size"/> tokens, or no pair occurs twice.</summary>
    public static BytePairVocabulary Learn(IEnumerable<string> texts, int size)
    {
        var training = new BytePairTraining(texts);
        List<(int, int)> merges = [];
        for (int next = BytePairVocabulary.FirstByteId + 256; next < size && training.TryLearnMerge(next, out (int, int) merge); next++)
            merges.Add(merge);
        return new BytePairVocabulary(merges);
    }

    private bool TryLearnMerge(int merged, out (int Left, int Right) best)
    {
        best = default;
        long bestCount = 1;
        foreach (((int, int) pair, long count) in _counts)
        {
            // Ties go to the smaller pair, so that the result does not depend on the order of a hash table.
            if (count > bestCount || (count == bestCount && count > 1 && pair.CompareTo(best) < 0))
                (best, bestCount) = (pair, count);
        }
        if (bestCount < 2)
            return false;
        foreach (int word in _wordsOfPair[best].ToArray())
        {
            Count(word, sign: -1);
            BytePairVocabulary.Merge(_words[word].Symbols, best.Left, best.Right, merged);
            Count(word, sign: 1);
        }
        return true;
    }

    private void Count(int word, int sign)
    {
        (List<int> symbols, int count) = _words[word];
        for (int i = 0; i + 1 < symbols.Count; i++)
        {
            (int, int) pair = (symbols[i], symbols[i + 1]);
            ref long total = ref CollectionsMarshal.GetValueRefOrAddDefault(_counts, pair, out _);
            total += sign * count;
            ref HashSet<int>? words = ref CollectionsMarshal.GetValueRefOrAddDefault(_wordsOfPair, pair, out _);
            words ??= [];
            if (sign > 0)
                words.Add(word);
            else
                words.Remove(word);
        }
    }
}
