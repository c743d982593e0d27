using System.Numerics;

namespace Cluster.Grains.Text.Templates;

/// <summary>Equality, order and membership as Python has them.</summary>
internal static class TemplateComparison
{
    public static bool AreEqual(object? left, object? right) => (left, right) switch
    {
        (null, null) => true,
        (Undefined, Undefined) => true,
        (string a, string b) => a == b,
        (long a, long b) => a == b,
        (BigInteger a, BigInteger b) => a == b,
        (TemplateList a, TemplateList b) => a.IsTuple == b.IsTuple && ListsAreEqual(a, b),
        (TemplateMap a, TemplateMap b) => MapsAreEqual(a, b),
        _ when TemplateTypes.IsNumber(left) && TemplateTypes.IsNumber(right) =>
            TemplateTypes.ToDouble(left) == TemplateTypes.ToDouble(right),
        _ => ReferenceEquals(left, right),
    };

    /// <summary>Negative, zero or positive.</summary>
    public static int Compare(object? left, object? right)
    {
        switch (left, right)
        {
            case (string a, string b):
                return string.CompareOrdinal(a, b);
            case (long a, long b):
                return a.CompareTo(b);
            case (TemplateList a, TemplateList b) when a.IsTuple == b.IsTuple:
                return CompareLists(a, b);
            case (Undefined undefined, _):
                throw undefined.Fault();
            case (_, Undefined undefined):
                throw undefined.Fault();
        }

        if (TemplateTypes.IsNumber(left) && TemplateTypes.IsNumber(right))
            return TemplateTypes.ToDouble(left).CompareTo(TemplateTypes.ToDouble(right));
        throw TemplateTypes.Fault(
            $"'<' not supported between instances of '{TemplateTypes.Name(left)}' and '{TemplateTypes.Name(right)}'");
    }

    /// <summary>Python's <c>item in container</c>.</summary>
    public static bool Contains(object? container, object? item, RenderBudget budget)
    {
        switch (container)
        {
            case string text when item is string part:
                budget.Scan(text.Length);
                return text.Contains(part, StringComparison.Ordinal);
            case string:
                throw TemplateTypes.Fault($"'in <string>' requires string as left operand, not {TemplateTypes.Name(item)}");
            case TemplateMap map:
                return item is not Undefined && map.Contains(item);
            case TemplateList list:
                budget.Step(list.Count);
                return list.Any(element => AreEqual(element, item));
            case Undefined:
                return false;
            default:
                throw TemplateTypes.Fault($"argument of type '{TemplateTypes.Name(container)}' is not iterable");
        }
    }

    private static bool ListsAreEqual(TemplateList left, TemplateList right) =>
        left.Count == right.Count && left.Zip(right).All(pair => AreEqual(pair.First, pair.Second));

    private static bool MapsAreEqual(TemplateMap left, TemplateMap right) => left.Count == right.Count
        && left.All(entry => right.TryGet(entry.Key, out object? other) && AreEqual(entry.Value, other));

    private static int CompareLists(TemplateList left, TemplateList right)
    {
        foreach ((object? a, object? b) in left.Zip(right))
        {
            if (!AreEqual(a, b))
                return Compare(a, b);
        }

        return left.Count.CompareTo(right.Count);
    }
}
