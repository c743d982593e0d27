using System.Numerics;

namespace Cluster.Grains.Text.Templates;

/// <summary>Questions about a value's type, as Python answers them.</summary>
internal static class TemplateTypes
{
    /// <summary>Python's name of the type, for messages.</summary>
    public static string Name(object? value) => value switch
    {
        null => "NoneType",
        Undefined => "Undefined",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        string => "str",
        TemplateList { IsTuple: true } => "tuple",
        TemplateList => "list",
        TemplateMap => "dict",
        TemplateNamespace => "Namespace",
        LoopState => "LoopContext",
        _ => "function",
    };

    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long number => number != 0,
        BigInteger number => !number.IsZero,
        double number => number != 0,
        string text => text.Length > 0,
        TemplateList list => list.Count > 0,
        TemplateMap map => map.Count > 0,
        _ => true,
    };

    public static bool IsNumber(object? value) => value is bool or long or double or BigInteger;

    /// <summary>The value of a number (bool included) as a double.</summary>
    public static double ToDouble(object? number) => number switch
    {
        bool flag => flag ? 1 : 0,
        long value => value,
        BigInteger value => (double)value,
        double value => value,
        _ => throw Fault($"must be a number, not {Name(number)}"),
    };

    /// <summary>The elements that a loop over the value sees.</summary>
    public static IReadOnlyList<object?> Iterate(object? value, RenderBudget budget)
    {
        switch (value)
        {
            case TemplateList list:
                budget.Scan(list.Count);
                return list;
            case TemplateMap map:
                budget.Produce(map.Count);
                return [.. map.Keys];
            case string text:
                budget.Produce(text.Length);
                return PythonText.Characters(text);
            case Undefined:
                return [];
            default:
                throw Fault($"'{Name(value)}' object is not iterable");
        }
    }

    public static bool IsIterable(object? value) => value is TemplateList or TemplateMap or string or Undefined;

    public static long Length(object? value, RenderBudget budget)
    {
        switch (value)
        {
            case string text:
                budget.Scan(text.Length);
                return PythonText.Length(text);
            case TemplateList list: return list.Count;
            case TemplateMap map: return map.Count;
            case Undefined: return 0;
            default: throw Fault($"object of type '{Name(value)}' has no len()");
        }
    }

    public static ChatTemplateException Fault(string message) => new(ChatTemplateFailure.Evaluation, message);
}
