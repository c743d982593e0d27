using System.Numerics;

namespace Cluster.Grains.Text.Templates;

/// <summary>Jinja's tests, <c>value is name</c>.</summary>
internal static class TemplateTests
{
    private static readonly Dictionary<string, TemplateTest> ByName = new()
    {
        ["defined"] = (_, value, _) => value is not Undefined,
        ["undefined"] = (_, value, _) => value is Undefined,
        ["none"] = (_, value, _) => value is null,
        ["boolean"] = (_, value, _) => value is bool,
        ["true"] = (_, value, _) => value is true,
        ["false"] = (_, value, _) => value is false,
        ["integer"] = (_, value, _) => value is long or BigInteger,
        ["float"] = (_, value, _) => value is double,
        ["number"] = (_, value, _) => TemplateTypes.IsNumber(value),
        ["string"] = (_, value, _) => value is string,
        ["mapping"] = (_, value, _) => value is TemplateMap,
        ["iterable"] = (_, value, _) => TemplateTypes.IsIterable(value),
        ["sequence"] = (_, value, _) => value is string or TemplateList or TemplateMap or Undefined,
        ["callable"] = (_, value, _) => value is TemplateCallable,
        ["odd"] = (context, value, _) => Remainder(value, 2L, context) != 0,
        ["even"] = (context, value, _) => Remainder(value, 2L, context) == 0,
        ["divisibleby"] = (context, value, arguments) => Remainder(value, arguments.Required(0, "num"), context) == 0,
        ["lower"] = (context, value, _) => IsCased(PythonText.Str(value, context.Budget), char.IsUpper),
        ["upper"] = (context, value, _) => IsCased(PythonText.Str(value, context.Budget), char.IsLower),
        ["sameas"] = (_, value, arguments) => IsSame(value, arguments.Required(0, "other")),
        ["in"] = (context, value, arguments) =>
            TemplateComparison.Contains(arguments.Required(0, "seq"), value, context.Budget),
        ["filter"] = (_, value, _) => value is string name && TemplateFilters.Find(name) is not null,
        ["test"] = (_, value, _) => value is string name && Find(name) is not null,
    };

    static TemplateTests()
    {
        Add(static (a, b) => TemplateComparison.AreEqual(a, b), "eq", "equalto", "==");
        Add(static (a, b) => !TemplateComparison.AreEqual(a, b), "ne", "!=");
        Add(static (a, b) => TemplateComparison.Compare(a, b) < 0, "lt", "lessthan", "<");
        Add(static (a, b) => TemplateComparison.Compare(a, b) <= 0, "le", "<=");
        Add(static (a, b) => TemplateComparison.Compare(a, b) > 0, "gt", "greaterthan", ">");
        Add(static (a, b) => TemplateComparison.Compare(a, b) >= 0, "ge", ">=");
    }

    public static TemplateTest? Find(string name) => ByName.GetValueOrDefault(name);

    private static void Add(Func<object?, object?, bool> holds, params string[] names)
    {
        foreach (string name in names)
            ByName[name] = (_, value, arguments) => holds(value, arguments.Required(0, "other"));
    }

    private static double Remainder(object? value, object? divisor, RenderContext context) =>
        TemplateTypes.ToDouble(TemplateArithmetic.Apply("%", value, divisor, context.Budget));

    private static bool IsCased(string text, Func<char, bool> isOtherCase) =>
        text.Any(char.IsLetter) && !text.Any(isOtherCase);

    private static bool IsSame(object? left, object? right) =>
        ReferenceEquals(left, right) || (left is bool a && right is bool b && a == b);
}
