using System.Text.RegularExpressions;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>Reads tokenizer.json's <c>pre_tokenizer</c>. A type that is not known is refused.</summary>
internal static class PretokenizerReader
{
    /// <summary>Deepest nesting of <c>Sequence</c> components.</summary>
    public const int MaxDepth = 8;

    /// <summary>Longest time one pattern may take on one text, in seconds; sound patterns need milliseconds.</summary>
    public const int PatternTimeoutSeconds = 10;

    // The pattern of GPT-2, which ByteLevel applies itself where use_regex is set.
    private const string ByteLevelPattern =
        @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private const string PunctuationPattern = @"[!-/:-@\[-`{-~\p{P}]";

    /// <summary>The steps in order, and whether the last one spells bytes in the GPT-2 alphabet.</summary>
    public static (List<IPretokenizer> Steps, bool ByteLevel) Read(JsonField? field)
    {
        var steps = new List<IPretokenizer>();
        bool byteLevel = false;
        if (field is { } root)
            Add(root, steps, ref byteLevel, depth: 0);
        return (steps, byteLevel);
    }

    private static void Add(JsonField field, List<IPretokenizer> steps, ref bool byteLevel, int depth)
    {
        if (depth > MaxDepth)
            throw field.Refuse($"is nested deeper than {MaxDepth}");
        JsonField type = field.Required("type");
        if (byteLevel)
            throw type.Refuse("must not stand after a ByteLevel pre-tokenizer");
        switch (type.AsString())
        {
            case "Sequence":
                foreach (JsonField step in field.Required("pretokenizers").Items())
                    Add(step, steps, ref byteLevel, depth + 1);
                break;
            case "ByteLevel":
                AddByteLevel(field, steps);
                byteLevel = true;
                break;
            case "Split":
                steps.Add(new SplitPretokenizer(ReadPattern(field.Required("pattern")),
                    ReadBehavior(field.Required("behavior")), field.Flag("invert", false)));
                break;
            case "Digits":
                steps.Add(new SplitPretokenizer(Compile(type, @"\p{N}"), field.Flag("individual_digits", false)
                    ? SplitBehavior.Isolated : SplitBehavior.Contiguous, invert: false));
                break;
            case "Punctuation":
                steps.Add(new SplitPretokenizer(Compile(type, PunctuationPattern),
                    field.Optional("behavior") is { } behavior ? ReadBehavior(behavior) : SplitBehavior.Isolated,
                    invert: false));
                break;
            case "WhitespaceSplit":
                steps.Add(new SplitPretokenizer(Compile(type, @"\s"), SplitBehavior.Removed, invert: false));
                break;
            case "Metaspace":
                AddMetaspace(field, steps);
                break;
            default:
                throw type.Refuse("is a pre_tokenizer type that is not supported");
        }
    }

    private static void AddByteLevel(JsonField field, List<IPretokenizer> steps)
    {
        if (field.Flag("add_prefix_space", true))
            steps.Add(new PrefixSpacePretokenizer());
        if (field.Flag("use_regex", true))
        {
            Regex pattern = Compile(field, ByteLevelPattern);
            steps.Add(new SplitPretokenizer(pattern, SplitBehavior.Isolated, invert: false));
        }
    }

    private static void AddMetaspace(JsonField field, List<IPretokenizer> steps)
    {
        char mark = ReadMark(field);
        steps.Add(new MetaspacePretokenizer(mark, ReadScheme(field)));
        if (field.Flag("split", true))
        {
            Regex pattern = Compile(field, Regex.Escape(mark.ToString()));
            steps.Add(new SplitPretokenizer(pattern, SplitBehavior.MergedWithNext, invert: false));
        }
    }

    /// <summary>The mark of a Metaspace component.</summary>
    public static char ReadMark(JsonField field)
    {
        JsonField replacement = field.Required("replacement");
        string mark = replacement.AsString();
        return mark.Length == 1 ? mark[0] : throw replacement.Refuse("must be one character");
    }

    /// <summary>The prepend scheme of a Metaspace component, in its new or its old spelling.</summary>
    public static PrependScheme ReadScheme(JsonField field)
    {
        if (field.Optional("prepend_scheme") is not { } scheme)
            return field.Flag("add_prefix_space", true) ? PrependScheme.Always : PrependScheme.Never;
        return scheme.AsString() switch
        {
            "always" => PrependScheme.Always,
            "first" => PrependScheme.First,
            "never" => PrependScheme.Never,
            _ => throw scheme.Refuse("must be always, first or never"),
        };
    }

    private static SplitBehavior ReadBehavior(JsonField field) => field.AsString() switch
    {
        "Removed" => SplitBehavior.Removed,
        "Isolated" => SplitBehavior.Isolated,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        "Contiguous" => SplitBehavior.Contiguous,
        _ => throw field.Refuse("is not a split behavior"),
    };

    private static Regex ReadPattern(JsonField field)
    {
        if (field.Optional("String") is { } literal)
            return Compile(literal, Regex.Escape(literal.AsString()));
        JsonField pattern = field.Required("Regex");
        return Compile(pattern, pattern.AsString());
    }

    private static Regex Compile(JsonField field, string pattern)
    {
        try
        {
            // Multiline: in the files' dialect (Oniguruma, Ruby syntax) ^ and $ stand at every line's ends.
            return new Regex(pattern, RegexOptions.CultureInvariant | RegexOptions.Multiline | RegexOptions.Compiled,
                TimeSpan.FromSeconds(PatternTimeoutSeconds));
        }
        catch (ArgumentException exception)
        {
            throw new TokenizerFormatException(field.File, field.Path, pattern,
                "is a regular expression that is not supported: " + exception.Message, exception);
        }
    }
}
