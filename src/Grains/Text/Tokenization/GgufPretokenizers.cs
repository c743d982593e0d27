using System.Text;
using System.Text.RegularExpressions;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// What a GGUF file calls its pre-tokenizer by name only: the patterns that the named models' own tokenizer.json has, so that tokens are
/// those of the original checkpoint.
/// </summary>
/// <param name="Patterns">Applied one after the other, each match a piece.</param>
/// <param name="IgnoreMerges">Whether a whole word of the vocabulary is taken as it is.</param>
/// <param name="AddsBegin">Whether the begin token is added where the file does not say.</param>
/// <param name="Composes">Whether text is brought into Unicode's form C first.</param>
internal sealed record GgufPretokenizer(string[] Patterns, bool IgnoreMerges = false, bool AddsBegin = false, bool Composes = false)
{
    private const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";

    private const string OtherText = @" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", Lead = @"[^\r\n\p{L}\p{N}]?";

    private static readonly GgufPretokenizer Gpt2 = new([Gpt2Pattern]);

    private static readonly GgufPretokenizer DigitsThenGpt2 = new([@"\p{N}", Gpt2Pattern]);

    private static readonly GgufPretokenizer Llama3 = new([$@"{Contractions}|{Lead}\p{{L}}+|\p{{N}}{{1,3}}|{OtherText}"], IgnoreMerges: true, AddsBegin: true);

    private static readonly GgufPretokenizer Qwen2 = new([$@"{Contractions}|{Lead}\p{{L}}+|\p{{N}}|{OtherText}"], Composes: true);

    private static readonly GgufPretokenizer Tekken = new(
        [$@"{Lead}{Upper}*{Lower}+|{Lead}{Upper}+{Lower}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"], IgnoreMerges: true, AddsBegin: true);

    // What llama.cpp does where a file names nothing.
    private static readonly GgufPretokenizer Unnamed = new(
        [@"[\p{P}\$\+<=>\^~\|]+", @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)", @"\p{N}+", "[0-9][0-9][0-9]"]);

    private static readonly Dictionary<string, GgufPretokenizer> ByName = new(StringComparer.Ordinal)
    {
        ["default"] = Unnamed,
        ["gpt-2"] = Gpt2, ["phi-2"] = Gpt2, ["mpt"] = Gpt2, ["olmo"] = Gpt2,
        ["smollm"] = DigitsThenGpt2, ["starcoder"] = DigitsThenGpt2, ["refact"] = DigitsThenGpt2, ["codeshell"] = DigitsThenGpt2,
        ["llama3"] = Llama3, ["llama-v3"] = Llama3, ["llama-bpe"] = Llama3,
        ["qwen2"] = Qwen2, ["deepseek-r1-qwen"] = Qwen2 with { AddsBegin = false },
        ["tekken"] = Tekken,
    };

    /// <summary>The steps in order.</summary>
    public IReadOnlyList<IPretokenizer> Steps => [.. Patterns.Select(pattern => new SplitPretokenizer(
        new Regex(pattern, RegexOptions.CultureInvariant | RegexOptions.Compiled, TimeSpan.FromSeconds(PretokenizerReader.PatternTimeoutSeconds)),
        SplitBehavior.Isolated, invert: false))];

    /// <summary>What the text goes through first.</summary>
    public Normalization Normalization => Composes ? Normalization.Composed(NormalizationForm.FormC) : Normalization.None;

    /// <summary>The pre-tokenizer of a name.</summary>
    /// <exception cref="TokenizerFormatException">It is not known.</exception>
    public static GgufPretokenizer Of(string? name, string file) => ByName.TryGetValue(name ?? "default", out GgufPretokenizer? known)
        ? known
        : throw new TokenizerFormatException(file, "tokenizer.ggml.pre", name!, $"must be one of {string.Join(", ", ByName.Keys.Order(StringComparer.Ordinal))}");
}
