using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>Filters that make text of text. Like Jinja's they take any value as its text.</summary>
internal static class StringFilters
{
    public static void AddTo(Dictionary<string, TemplateFilter> filters)
    {
        Add(filters, "upper", (text, _, _) => text.ToUpperInvariant());
        Add(filters, "lower", (text, _, _) => text.ToLowerInvariant());
        Add(filters, "capitalize", (text, _, _) => StringMethods.Capitalize(text));
        Add(filters, "title", (text, _, _) => StringMethods.Title(text));
        Add(filters, "trim", (text, _, arguments) => StringMethods.Strip(text, arguments, start: true, end: true));
        Add(filters, "replace", (text, context, arguments) => StringWork.Replace(text, arguments.RequiredText(0, "old"),
            arguments.RequiredText(1, "new"), arguments.Integer(2, "count", -1), context.Budget));
        Add(filters, "indent", Indent);
        Add(filters, "center", (text, context, arguments) =>
        {
            int width = arguments.Integer(0, "width", 80);
            context.Budget.Produce(Math.Max(width, 0));
            return StringWork.Center(text, width);
        });
        Add(filters, "wordcount", (text, _, _) =>
            (long)text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length);
        Add(filters, "urlencode", (text, context, _) => context.Budget.Made(
            Uri.EscapeDataString(text).Replace("%2F", "/", StringComparison.Ordinal)));
        Add(filters, "escape", (text, context, _) => Escape(text, context));
        Add(filters, "e", (text, context, _) => Escape(text, context));
        Add(filters, "forceescape", (text, context, _) => Escape(text, context));
    }

    public static string Text(object? value, RenderContext context) => PythonText.Str(value, context.Budget);

    private static void Add(
        Dictionary<string, TemplateFilter> filters, string name, Func<string, RenderContext, Arguments, object?> filter) =>
        filters[name] = (context, value, arguments) =>
        {
            string text = Text(value, context);
            context.Budget.Produce(text.Length);
            return filter(text, context, arguments);
        };

    private static string Escape(string text, RenderContext context) => context.Budget.Made(text
        .Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal).Replace("'", "&#39;", StringComparison.Ordinal)
        .Replace("\"", "&#34;", StringComparison.Ordinal));

    private static string Indent(string text, RenderContext context, Arguments arguments)
    {
        string indent = arguments.Get(0, "width", 4L) is string given
            ? given
            : new string(' ', Math.Clamp(arguments.Integer(0, "width", 4), 0, 1000));
        bool first = arguments.Flag(1, "first", false);
        bool blank = arguments.Flag(2, "blank", false);
        string[] lines = text.Split('\n');
        context.Budget.Produce((long)indent.Length * lines.Length);
        var output = new StringBuilder(text.Length);
        for (int i = 0; i < lines.Length; i++)
        {
            if (i > 0)
                output.Append('\n');
            if (i == 0 ? first : blank || lines[i].Length > 0)
                output.Append(indent);
            output.Append(lines[i]);
        }

        return context.Budget.Made(output.ToString());
    }
}
