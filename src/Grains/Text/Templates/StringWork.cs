using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>The longer string operations that methods and filters share.</summary>
internal static class StringWork
{
    /// <summary>Replaces the first <paramref name="count"/> occurrences; all if negative.</summary>
    public static string Replace(string text, string old, string with, int count, RenderBudget budget)
    {
        budget.Scan(text.Length);
        if (old.Length == 0 && with.Length == 0)
            return text;
        var output = new StringBuilder();
        int from = 0;
        for (; count != 0; count--)
        {
            int at = old.Length > 0 ? text.IndexOf(old, from, StringComparison.Ordinal) : NextGap(text, from, output.Length == 0);
            if (at < 0)
                break;
            budget.Produce(at - from + (long)with.Length);
            output.Append(text, from, at - from).Append(with);
            from = at + old.Length;
        }

        return budget.Made(output.Append(text, from, text.Length - from).ToString());
    }

    // An empty pattern stands before every character and at the end.
    private static int NextGap(string text, int from, bool isFirst)
    {
        if (isFirst)
            return from;
        return from < text.Length ? from + 1 : -1;
    }

    public static TemplateList Split(string text, Arguments arguments, bool fromEnd, RenderBudget budget)
    {
        int most = arguments.Integer(1, "maxsplit", -1);
        object? separator = arguments.Get(0, "sep", null);
        if (separator is not (null or string))
            throw TemplateTypes.Fault($"must be str or None, not {TemplateTypes.Name(separator)}");
        if (separator is "")
            throw TemplateTypes.Fault("empty separator");
        budget.Produce(text.Length);
        List<string> parts = separator is string given ? SplitAt(text, given, most, fromEnd) : SplitWords(text, most, fromEnd);
        return new TemplateList([.. parts]);
    }

    private static List<string> SplitAt(string text, string separator, int most, bool fromEnd)
    {
        string[] all = text.Split(separator, StringSplitOptions.None);
        if (most < 0 || all.Length - 1 <= most)
            return [.. all];
        int kept = all.Length - most;
        return fromEnd
            ? [string.Join(separator, all[..kept]), .. all[kept..]]
            : [.. all[..most], string.Join(separator, all[most..])];
    }

    private static List<string> SplitWords(string text, int most, bool fromEnd)
    {
        var words = new List<(int Start, int End)>();
        for (int i = 0; i < text.Length; i++)
        {
            if (PythonText.IsWhiteSpace(text[i]))
                continue;
            int start = i;
            while (i < text.Length && !PythonText.IsWhiteSpace(text[i]))
                i++;
            words.Add((start, i));
        }

        if (most < 0 || words.Count - 1 <= most)
            return [.. words.Select(word => text[word.Start..word.End])];
        int kept = words.Count - most;
        return fromEnd
            ? [text[..words[kept - 1].End].TrimStart(), .. words.Skip(kept).Select(word => text[word.Start..word.End])]
            : [.. words.Take(most).Select(word => text[word.Start..word.End]), text[words[most].Start..]];
    }

    public static TemplateList Lines(string text, bool keepEnds, RenderBudget budget)
    {
        budget.Produce(text.Length);
        var lines = new List<object?>();
        int start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] is not ('\n' or '\r' or '\v' or '\f' or '\x1C' or '\x1D' or '\x1E' or '\x85' or '\u2028' or '\u2029'))
                continue;
            int end = text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n' ? i + 2 : i + 1;
            lines.Add(text[start..(keepEnds ? end : i)]);
            start = end;
            i = end - 1;
        }

        if (start < text.Length)
            lines.Add(text[start..]);
        return new TemplateList(lines);
    }

    public static TemplateList Partition(string text, string separator, bool last)
    {
        if (separator.Length == 0)
            throw TemplateTypes.Fault("empty separator");
        int at = last ? text.LastIndexOf(separator, StringComparison.Ordinal) : text.IndexOf(separator, StringComparison.Ordinal);
        if (at >= 0)
            return new TemplateList([text[..at], separator, text[(at + separator.Length)..]], isTuple: true);
        return new TemplateList(last ? ["", "", text] : [text, "", ""], isTuple: true);
    }

    public static string Join(string separator, object? items, RenderBudget budget)
    {
        IReadOnlyList<object?> list = TemplateTypes.Iterate(items, budget);
        budget.Produce((long)separator.Length * list.Count);
        return budget.Made(string.Join(separator, list.Select((item, i) => item as string ?? throw TemplateTypes.Fault(
            $"sequence item {i}: expected str instance, {TemplateTypes.Name(item)} found"))));
    }

    public static object Count(string text, string part)
    {
        if (part.Length == 0)
            return PythonText.Length(text) + 1L;
        long count = 0;
        for (int i = text.IndexOf(part, StringComparison.Ordinal); i >= 0; i = text.IndexOf(part, i + part.Length, StringComparison.Ordinal))
            count++;
        return count;
    }

    public static string Center(string text, int width)
    {
        int missing = width - text.Length;
        if (missing <= 0)
            return text;
        int left = missing / 2 + (missing & width & 1);
        return text.PadLeft(text.Length + left).PadRight(width);
    }
}
