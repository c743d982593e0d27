using System.Text;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>The normaliser of a tokenizer: a chain of text rewrites, read from tokenizer.json's <c>normalizer</c>.</summary>
internal sealed class Normalization
{
    private const char Noncharacter = '\uFFFE';

    private readonly List<Func<string, string>> _steps = [];

    /// <summary>Changes nothing.</summary>
    public static Normalization None { get; } = new();

    /// <summary>What SentencePiece does before encoding: dummy prefix, spaces as U+2581.</summary>
    public static Normalization SentencePiece(bool addDummyPrefix)
    {
        var normalization = new Normalization();
        if (addDummyPrefix)
            normalization.AddPrepend("\u2581");
        normalization.AddReplace(" ", "\u2581");
        return normalization;
    }

    /// <summary>Brings text into a Unicode normal form.</summary>
    public static Normalization Composed(NormalizationForm form)
    {
        if (!KnowsUnicode)
            throw new TokenizerFormatException("tokenizer", "normalizer", form.ToString(), "needs Unicode data (ICU), which this process runs without");
        var normalization = new Normalization();
        normalization.AddForm(form);
        return normalization;
    }

    public static Normalization Read(JsonField? field)
    {
        var normalization = new Normalization();
        if (field is { } root)
            normalization.Add(root, depth: 0);
        return normalization;
    }

    public string Apply(string text)
    {
        foreach (Func<string, string> step in _steps)
            text = step(text);
        return text;
    }

    private void Add(JsonField field, int depth)
    {
        if (depth > PretokenizerReader.MaxDepth)
            throw field.Refuse($"is nested deeper than {PretokenizerReader.MaxDepth}");
        JsonField type = field.Required("type");
        switch (type.AsString())
        {
            case "Sequence":
                foreach (JsonField step in field.Required("normalizers").Items())
                    Add(step, depth + 1);
                break;
            case "Prepend":
                AddPrepend(field.Required("prepend").AsString());
                break;
            case "Replace":
                (string pattern, string content) = ReadReplacement(field);
                AddReplace(pattern, content);
                break;
            case "NFC": AddForm(type, NormalizationForm.FormC); break;
            case "NFD": AddForm(type, NormalizationForm.FormD); break;
            case "NFKC": AddForm(type, NormalizationForm.FormKC); break;
            case "NFKD": AddForm(type, NormalizationForm.FormKD); break;
            default: throw type.Refuse("is a normalizer type that is not supported");
        }
    }

    /// <summary>Pattern and content of a <c>Replace</c> component; only literal patterns are known.</summary>
    public static (string Pattern, string Content) ReadReplacement(JsonField field)
    {
        JsonField pattern = field.Required("pattern");
        if (pattern.Optional("String") is not { } literal)
            throw pattern.Refuse("must be a literal ({\"String\": ...})");
        string text = literal.AsString();
        if (text.Length == 0)
            throw literal.Refuse("must not be empty");
        return (text, field.Required("content").AsString());
    }

    private void AddPrepend(string prefix) => _steps.Add(text => text.Length == 0 ? text : prefix + text);

    private void AddReplace(string pattern, string content) =>
        _steps.Add(text => text.Replace(pattern, content, StringComparison.Ordinal));

    // With InvariantGlobalization the platform normalises nothing and says nothing: wrong tokens instead of an error.
    private static bool KnowsUnicode => "e\u0301".Normalize(NormalizationForm.FormC) == "\u00E9";

    private void AddForm(JsonField type, NormalizationForm form)
    {
        if (!KnowsUnicode)
            throw type.Refuse("needs Unicode data (ICU), which this process runs without");
        AddForm(form);
    }

    private void AddForm(NormalizationForm form) => _steps.Add(text => Ascii.IsValid(text) ? text : Normalize(text, form));

    // .NET refuses to normalise U+FFFE, which composes with nothing: what stands between is normalised alone.
    private static string Normalize(string text, NormalizationForm form) => text.Contains(Noncharacter)
        ? string.Join(Noncharacter, text.Split(Noncharacter).Select(part => part.Normalize(form)))
        : text.Normalize(form);
}
