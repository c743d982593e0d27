using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;

namespace Cluster.Grains.Text.Templates;

/// <summary>
/// JSON in and out of a template: JSON values become template values with their keys in order, and <c>tojson</c>
/// writes them as Python's json.dumps does.
/// </summary>
internal sealed class JsonText
{
    private readonly StringBuilder _output = new();
    private readonly RenderBudget _budget;
    private readonly Options _options;

    private JsonText(RenderBudget budget, Options options)
    {
        _budget = budget;
        _options = options;
    }

    /// <summary>json.dumps's arguments.</summary>
    /// <param name="Indent">What one level is indented with; null: all on one line.</param>
    /// <param name="ItemSeparator">Between elements.</param>
    /// <param name="KeySeparator">Between key and value.</param>
    /// <param name="AsciiOnly">Other characters become escapes.</param>
    /// <param name="SortKeys">Keys by their order, not as they came.</param>
    public sealed record Options(
        string? Indent, string ItemSeparator, string KeySeparator, bool AsciiOnly, bool SortKeys);

    public static string Write(object? value, Options options, RenderBudget budget)
    {
        var writer = new JsonText(budget, options);
        writer.Append(value, level: 0);
        return budget.Made(writer._output.ToString());
    }

    /// <summary>The template's value of a JSON value.</summary>
    /// <exception cref="InvalidOperationException">A string is not valid text.</exception>
    public static object? Read(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                var map = new TemplateMap();
                foreach (JsonProperty property in element.EnumerateObject())
                    map.Set(property.Name, Read(property.Value));
                return map;
            case JsonValueKind.Array:
                return new TemplateList([.. element.EnumerateArray().Select(Read)]);
            case JsonValueKind.String: return element.GetString();
            case JsonValueKind.Number: return ReadNumber(element);
            case JsonValueKind.True: return true;
            case JsonValueKind.False: return false;
            case JsonValueKind.Null: return null;
            default: return new Undefined("a JSON value is missing");
        }
    }

    private static object ReadNumber(JsonElement element)
    {
        const int LongestInteger = 4300;
        if (element.TryGetInt64(out long number))
            return number;
        string text = element.GetRawText();
        return text.AsSpan().IndexOfAny('.', 'e', 'E') < 0 && text.Length <= LongestInteger
            ? BigInteger.Parse(text, CultureInfo.InvariantCulture)
            : element.GetDouble();
    }

    private void Append(object? value, int level)
    {
        _budget.Enter(_budget.Line);
        switch (value)
        {
            case null: _output.Append("null"); break;
            case bool flag: _output.Append(flag ? "true" : "false"); break;
            case long or BigInteger: _output.Append(((IFormattable)value).ToString(null, CultureInfo.InvariantCulture)); break;
            case double number: _output.Append(Float(number)); break;
            case string text: AppendString(text); break;
            case TemplateList list: AppendAll(list, '[', ']', level, item => Append(item, level + 1)); break;
            case TemplateMap map: AppendMap(map, level); break;
            default: throw TemplateTypes.Fault($"Object of type {TemplateTypes.Name(value)} is not JSON serializable");
        }

        _budget.Leave();
    }

    private void AppendMap(TemplateMap map, int level)
    {
        IEnumerable<KeyValuePair<object?, object?>> entries = _options.SortKeys
            ? map.OrderBy(entry => entry.Key, Comparer<object?>.Create(TemplateComparison.Compare))
            : map;
        AppendAll(entries, '{', '}', level, entry =>
        {
            AppendString(KeyText(entry.Key));
            _output.Append(_options.KeySeparator);
            Append(entry.Value, level + 1);
        });
    }

    private void AppendAll<T>(IEnumerable<T> items, char open, char close, int level, Action<T> append)
    {
        _output.Append(open);
        bool isFirst = true;
        foreach (T item in items)
        {
            if (!isFirst)
                _output.Append(_options.ItemSeparator);
            isFirst = false;
            AppendBreak(level + 1);
            append(item);
        }

        if (!isFirst)
            AppendBreak(level);
        _output.Append(close);
    }

    private void AppendBreak(int level)
    {
        if (_options.Indent is not { } indent)
            return;
        _budget.Produce((long)indent.Length * level);
        _output.Append('\n');
        for (int i = 0; i < level; i++)
            _output.Append(indent);
    }

    private void AppendString(string text)
    {
        _budget.Produce(text.Length);
        _output.Append('"');
        foreach (char c in text)
        {
            switch (c)
            {
                case '"': _output.Append("\\\""); break;
                case '\\': _output.Append("\\\\"); break;
                case '\n': _output.Append("\\n"); break;
                case '\r': _output.Append("\\r"); break;
                case '\t': _output.Append("\\t"); break;
                case '\b': _output.Append("\\b"); break;
                case '\f': _output.Append("\\f"); break;
                default:
                    if (c < ' ' || (_options.AsciiOnly && c > '~' && c != '\x7F'))
                        _output.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
                    else
                        _output.Append(c);
                    break;
            }
        }

        _output.Append('"');
    }

    private static string KeyText(object? key) => key switch
    {
        string text => text,
        null => "null",
        bool flag => flag ? "true" : "false",
        double number => Float(number),
        long or BigInteger => ((IFormattable)key).ToString(null, CultureInfo.InvariantCulture),
        _ => throw TemplateTypes.Fault($"keys must be str, int, float, bool or None, not {TemplateTypes.Name(key)}"),
    };

    private static string Float(double number) => double.IsNaN(number) ? "NaN"
        : double.IsInfinity(number) ? (number > 0 ? "Infinity" : "-Infinity") : PythonText.Float(number);
}
