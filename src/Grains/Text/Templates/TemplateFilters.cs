using System.Globalization;
using System.Numerics;

namespace Cluster.Grains.Text.Templates;

/// <summary>Jinja's filters, <c>value | name</c>, with <c>tojson</c> as Hugging Face defines it.</summary>
internal static class TemplateFilters
{
    private static readonly Dictionary<string, TemplateFilter> ByName = new()
    {
        ["default"] = (_, value, arguments) => Default(value, arguments),
        ["d"] = (_, value, arguments) => Default(value, arguments),
        ["length"] = (context, value, _) => TemplateTypes.Length(value, context.Budget),
        ["count"] = (context, value, _) => TemplateTypes.Length(value, context.Budget),
        ["string"] = (context, value, _) => PythonText.Str(value, context.Budget),
        ["safe"] = (_, value, _) => value,
        ["abs"] = (_, value, _) => TemplateTypes.ToDouble(value) < 0 ? TemplateArithmetic.Negate(value) : value,
        ["int"] = (_, value, arguments) => ToInteger(value, arguments),
        ["float"] = (_, value, arguments) => ToFloat(value, arguments),
        ["round"] = (_, value, arguments) => Round(value, arguments),
        ["attr"] = (_, value, arguments) => TemplateAccess.Attribute(value, arguments.RequiredText(0, "name")),
        ["tojson"] = (context, value, arguments) => ToJson(context, value, arguments),
        ["items"] = (context, value, _) => Items(value, context.Budget),
        ["format"] = (context, value, arguments) => PrintfFormat.Apply(StringFilters.Text(value, context),
            new TemplateList(arguments.Positional, isTuple: true), context.Budget),
    };

    static TemplateFilters()
    {
        StringFilters.AddTo(ByName);
        SequenceFilters.AddTo(ByName);
        SelectionFilters.AddTo(ByName);
    }

    public static TemplateFilter? Find(string name) => ByName.GetValueOrDefault(name);

    private static object? Default(object? value, Arguments arguments)
    {
        bool alsoFalse = arguments.Flag(1, "boolean", false);
        return value is Undefined || (alsoFalse && !TemplateTypes.IsTrue(value))
            ? arguments.Get(0, "default_value", "")
            : value;
    }

    private static object? ToInteger(object? value, Arguments arguments)
    {
        object? otherwise = arguments.Get(0, "default", 0L);
        switch (value)
        {
            case long or BigInteger: return value;
            case bool flag: return flag ? 1L : 0L;
            case double number: return Math.Abs(number) < long.MaxValue ? (object)(long)number : otherwise;
            case string text:
                string trimmed = text.Trim();
                if (long.TryParse(trimmed, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long whole))
                    return whole;
                return double.TryParse(trimmed, NumberStyles.Float, CultureInfo.InvariantCulture, out double real)
                    && Math.Abs(real) < long.MaxValue ? (object)(long)real : otherwise;
            default: return otherwise;
        }
    }

    private static object? ToFloat(object? value, Arguments arguments)
    {
        if (TemplateTypes.IsNumber(value))
            return TemplateTypes.ToDouble(value);
        return value is string text
            && double.TryParse(text.Trim(), NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            ? number : arguments.Get(0, "default", 0.0);
    }

    private static object? Round(object? value, Arguments arguments)
    {
        int precision = Math.Clamp(arguments.Integer(0, "precision", 0), -15, 15);
        string method = arguments.Text(1, "method", "common");
        double scale = Math.Pow(10, precision);
        double number = TemplateTypes.ToDouble(value);
        return method switch
        {
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            "common" => precision >= 0
                ? Math.Round(number, precision, MidpointRounding.ToEven)
                : Math.Round(number * scale, MidpointRounding.ToEven) / scale,
            _ => throw TemplateTypes.Fault("method must be common, ceil or floor"),
        };
    }

    private static TemplateList Items(object? value, RenderBudget budget) => value switch
    {
        TemplateMap map => MapMethods.Items(map, budget),
        Undefined => new TemplateList([]),
        _ => throw TemplateTypes.Fault("Can only get item pairs from a mapping."),
    };

    // The parameters and their order are those of transformers' tojson: (ensure_ascii, indent, separators, sort_keys).
    private static string ToJson(RenderContext context, object? value, Arguments arguments)
    {
        const int WidestIndent = 100;
        string? indent = arguments.Get(1, "indent", null) switch
        {
            null => null,
            string text => text,
            long width when width <= WidestIndent => new string(' ', (int)Math.Max(width, 0)),
            bool one => one ? " " : "",
            _ => throw TemplateTypes.Fault($"indent must be a string or a number up to {WidestIndent}"),
        };
        (string item, string key) = (indent is null ? ", " : ",", ": ");
        if (arguments.Get(2, "separators", null) is TemplateList { Count: 2 } separators)
            (item, key) = (PythonText.Str(separators[0], context.Budget), PythonText.Str(separators[1], context.Budget));
        var options = new JsonText.Options(indent, item, key,
            AsciiOnly: arguments.Flag(0, "ensure_ascii", false), SortKeys: arguments.Flag(3, "sort_keys", false));
        return JsonText.Write(value, options, context.Budget);
    }
}
