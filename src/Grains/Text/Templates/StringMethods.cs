using System.Globalization;

namespace Cluster.Grains.Text.Templates;

/// <summary>The methods of strings.</summary>
internal static class StringMethods
{
    private delegate object? Method(string text, RenderContext context, Arguments arguments);

    private static readonly Dictionary<string, Method> ByName = new()
    {
        ["upper"] = (text, _, _) => text.ToUpperInvariant(),
        ["lower"] = (text, _, _) => text.ToLowerInvariant(),
        ["capitalize"] = (text, _, _) => Capitalize(text),
        ["title"] = (text, _, _) => Title(text),
        ["swapcase"] = (text, _, _) => string.Concat(text.Select(
            c => char.IsUpper(c) ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c))),
        ["strip"] = (text, _, arguments) => Strip(text, arguments, start: true, end: true),
        ["lstrip"] = (text, _, arguments) => Strip(text, arguments, start: true, end: false),
        ["rstrip"] = (text, _, arguments) => Strip(text, arguments, start: false, end: true),
        ["startswith"] = (text, _, arguments) =>
            Affixes(arguments).Any(affix => text.StartsWith(affix, StringComparison.Ordinal)),
        ["endswith"] = (text, _, arguments) =>
            Affixes(arguments).Any(affix => text.EndsWith(affix, StringComparison.Ordinal)),
        ["removeprefix"] = (text, _, arguments) => arguments.RequiredText(0, "prefix") is var prefix
            && text.StartsWith(prefix, StringComparison.Ordinal) ? text[prefix.Length..] : text,
        ["removesuffix"] = (text, _, arguments) => arguments.RequiredText(0, "suffix") is var suffix
            && text.EndsWith(suffix, StringComparison.Ordinal) ? text[..^suffix.Length] : text,
        ["replace"] = (text, context, arguments) => StringWork.Replace(text, arguments.RequiredText(0, "old"),
            arguments.RequiredText(1, "new"), arguments.Integer(2, "count", -1), context.Budget),
        ["split"] = (text, context, arguments) => StringWork.Split(text, arguments, fromEnd: false, context.Budget),
        ["rsplit"] = (text, context, arguments) => StringWork.Split(text, arguments, fromEnd: true, context.Budget),
        ["splitlines"] = (text, context, arguments) =>
            StringWork.Lines(text, arguments.Flag(0, "keepends", false), context.Budget),
        ["partition"] = (text, _, arguments) => StringWork.Partition(text, arguments.RequiredText(0, "sep"), last: false),
        ["rpartition"] = (text, _, arguments) => StringWork.Partition(text, arguments.RequiredText(0, "sep"), last: true),
        ["join"] = (text, context, arguments) => StringWork.Join(text, arguments.Required(0, "iterable"), context.Budget),
        ["find"] = (text, _, arguments) => Position(text, text.IndexOf(arguments.RequiredText(0, "sub"), StringComparison.Ordinal)),
        ["rfind"] = (text, _, arguments) => Position(text, text.LastIndexOf(arguments.RequiredText(0, "sub"), StringComparison.Ordinal)),
        ["index"] = (text, _, arguments) => text.IndexOf(arguments.RequiredText(0, "sub"), StringComparison.Ordinal) is >= 0 and int at
            ? Position(text, at) : throw TemplateTypes.Fault("substring not found"),
        ["count"] = (text, _, arguments) => StringWork.Count(text, arguments.RequiredText(0, "sub")),
        ["isdigit"] = (text, _, _) => text.Length > 0 && text.All(char.IsDigit),
        ["isnumeric"] = (text, _, _) => text.Length > 0 && text.All(char.IsNumber),
        ["isalpha"] = (text, _, _) => text.Length > 0 && text.All(char.IsLetter),
        ["isalnum"] = (text, _, _) => text.Length > 0 && text.All(char.IsLetterOrDigit),
        ["isspace"] = (text, _, _) => text.Length > 0 && text.All(PythonText.IsWhiteSpace),
        ["isupper"] = (text, _, _) => text.Any(char.IsUpper) && !text.Any(char.IsLower),
        ["islower"] = (text, _, _) => text.Any(char.IsLower) && !text.Any(char.IsUpper),
        ["zfill"] = (text, context, arguments) => Pad(text, arguments, context, (value, width) => ZeroFill(value, width)),
        ["ljust"] = (text, context, arguments) => Pad(text, arguments, context, (value, width) => value.PadRight(width)),
        ["rjust"] = (text, context, arguments) => Pad(text, arguments, context, (value, width) => value.PadLeft(width)),
        ["center"] = (text, context, arguments) => Pad(text, arguments, context, StringWork.Center),
        ["format"] = BraceFormat.Apply,
    };

    public static TemplateCallable? Bind(string text, string name)
    {
        if (!ByName.TryGetValue(name, out Method? method))
            return null;
        return new TemplateFunction((context, arguments) =>
        {
            context.Budget.Produce(text.Length);
            return method(text, context, arguments);
        });
    }

    public static string Capitalize(string text) =>
        text.Length == 0 ? text : text[..1].ToUpperInvariant() + text[1..].ToLowerInvariant();

    /// <summary>Python's <c>str.title</c>: letters after a non-letter are capitals.</summary>
    public static string Title(string text)
    {
        char previous = ' ';
        return string.Concat(text.Select(c =>
        {
            char titled = char.IsLetter(previous) ? char.ToLowerInvariant(c) : char.ToUpperInvariant(c);
            previous = c;
            return titled;
        }));
    }

    public static string Strip(string text, Arguments arguments, bool start, bool end)
    {
        string? given = arguments.Get(0, "chars", null) switch
        {
            null or Undefined => null,
            string characters => characters,
            object other => throw TemplateTypes.Fault($"strip arg must be None or str, not {TemplateTypes.Name(other)}"),
        };
        bool Goes(char c) => given is null ? PythonText.IsWhiteSpace(c) : given.Contains(c);
        (int from, int to) = (0, text.Length);
        while (start && from < to && Goes(text[from]))
            from++;
        while (end && to > from && Goes(text[to - 1]))
            to--;
        return text[from..to];
    }

    private static IEnumerable<string> Affixes(Arguments arguments) => arguments.Required(0, "prefix") switch
    {
        string one => [one],
        TemplateList { IsTuple: true } several => several.OfType<string>(),
        object other => throw TemplateTypes.Fault($"affix must be str or a tuple of str, not {TemplateTypes.Name(other)}"),
        null => throw TemplateTypes.Fault("affix must be str or a tuple of str, not NoneType"),
    };

    private static object Position(string text, int index) =>
        index < 0 ? -1L : (long)PythonText.Length(text[..index]);

    private static string Pad(string text, Arguments arguments, RenderContext context, Func<string, int, string> pad)
    {
        int width = arguments.Integer(0, "width", 0);
        context.Budget.Produce(Math.Max(width, 0));
        return pad(text, Math.Max(width, 0));
    }

    private static string ZeroFill(string text, int width)
    {
        bool signed = text.Length > 0 && text[0] is '+' or '-';
        return signed ? text[0] + text[1..].PadLeft(Math.Max(width - 1, 0), '0') : text.PadLeft(width, '0');
    }
}

/// <summary><c>str.format</c> with plain fields: <c>{}</c>, <c>{0}</c>, <c>{name}</c>.</summary>
internal static class BraceFormat
{
    public static object? Apply(string format, RenderContext context, Arguments arguments)
    {
        var output = new System.Text.StringBuilder();
        int next = 0;
        for (int i = 0; i < format.Length; i++)
        {
            char c = format[i];
            bool doubled = c is '{' or '}' && i + 1 < format.Length && format[i + 1] == c;
            if (c is not ('{' or '}') || doubled)
            {
                output.Append(c);
                i += doubled ? 1 : 0;
                continue;
            }

            int end = c == '{' ? format.IndexOf('}', i) : -1;
            if (end < 0)
                throw TemplateTypes.Fault("a single brace stands in a format string");
            string field = format[(i + 1)..end];
            output.Append(PythonText.Str(Field(field, arguments, ref next), context.Budget));
            i = end;
        }

        return context.Budget.Made(output.ToString());
    }

    private static object? Field(string field, Arguments arguments, ref int next)
    {
        if (field.Length == 0)
            return arguments.Required(next++, "");
        if (int.TryParse(field, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
            return arguments.Required(index, field);
        return arguments.Named.TryGetValue(field, out object? value)
            ? value
            : throw TemplateTypes.Fault($"the format field '{{{field}}}' is not there or not supported");
    }
}
