using System.Numerics;

namespace Cluster.Grains.Text.Templates;

/// <summary>Python's arithmetic. Whole numbers stay whole; those beyond 64 bits are refused.</summary>
internal static class TemplateArithmetic
{
    public static object? Apply(string symbol, object? left, object? right, RenderBudget budget)
    {
        if (left is Undefined missing)
            throw missing.Fault();
        if (right is Undefined absent)
            throw absent.Fault();
        try
        {
            return TemplateTypes.IsNumber(left) && TemplateTypes.IsNumber(right)
                ? Numbers(symbol, left!, right!)
                : Sequences(symbol, left, right, budget);
        }
        catch (OverflowException)
        {
            throw TemplateTypes.Fault($"the result of '{symbol}' does not fit 64 bits");
        }
    }

    public static object? Negate(object? value) => value switch
    {
        double number => (object)-number,
        _ when TemplateTypes.IsNumber(value) => (object)checked(-ToLong(value!)),
        Undefined undefined => throw undefined.Fault(),
        _ => throw TemplateTypes.Fault($"bad operand type for unary -: '{TemplateTypes.Name(value)}'"),
    };

    private static object? Numbers(string symbol, object left, object right)
    {
        if (left is double || right is double || symbol == "/")
            return Floats(symbol, TemplateTypes.ToDouble(left), TemplateTypes.ToDouble(right));
        (long a, long b) = (ToLong(left), ToLong(right));
        if (b == 0 && symbol is "//" or "%")
            throw TemplateTypes.Fault("integer division or modulo by zero");
        return symbol switch
        {
            "+" => checked(a + b),
            "-" => checked(a - b),
            "*" => checked(a * b),
            "//" => FloorDivide(a, b),
            "%" => b == -1 ? 0L : a - b * FloorDivide(a, b),
            "**" => Power(a, b),
            _ => throw Unsupported(symbol, left, right),
        };
    }

    // Boxed here, branch by branch: a conditional over long and double would widen every whole number.
    private static object Power(long value, long exponent)
    {
        if (exponent < 0)
            return Math.Pow(value, exponent);
        long result = 1;
        for (long i = 0; i < exponent && value is not (0 or 1 or -1); i++)
            result = checked(result * value);
        if (value is 0 or 1 or -1)
            result = exponent == 0 ? 1 : value == -1 && exponent % 2 == 0 ? 1 : value;
        return result;
    }

    private static long FloorDivide(long a, long b)
    {
        long quotient = checked(a / b);
        return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
    }

    private static object? Floats(string symbol, double a, double b)
    {
        if (b == 0 && symbol is "/" or "//" or "%")
            throw TemplateTypes.Fault("float division by zero");
        return symbol switch
        {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" => a / b,
            "//" => Math.Floor(a / b),
            "%" => a - b * Math.Floor(a / b),
            "**" => Math.Pow(a, b),
            _ => throw Unsupported(symbol, a, b),
        };
    }

    private static object? Sequences(string symbol, object? left, object? right, RenderBudget budget)
    {
        switch (symbol, left, right)
        {
            case ("+", string a, string b):
                budget.Produce((long)a.Length + b.Length);
                return a + b;
            case ("+", TemplateList a, TemplateList b) when a.IsTuple == b.IsTuple:
                budget.Produce((long)a.Count + b.Count);
                return new TemplateList([.. a, .. b], a.IsTuple);
            case ("*", string or TemplateList, long or bool):
                return Repeat(left, ToLong(right), budget);
            case ("*", long or bool, string or TemplateList):
                return Repeat(right, ToLong(left), budget);
            case ("%", string format, _):
                return PrintfFormat.Apply(format, right, budget);
            case ("+", string, _):
                throw TemplateTypes.Fault($"can only concatenate str (not \"{TemplateTypes.Name(right)}\") to str");
            default:
                throw Unsupported(symbol, left, right);
        }
    }

    private static object Repeat(object? sequence, long count, RenderBudget budget)
    {
        count = Math.Max(count, 0);
        long length = sequence is string s ? s.Length : ((TemplateList)sequence!).Count;
        if (length == 0)
            return sequence!;
        budget.Produce(count > int.MaxValue ? long.MaxValue / 2 : length * count);
        if (sequence is string text)
            return string.Concat(Enumerable.Repeat(text, (int)count));
        var list = (TemplateList)sequence!;
        return new TemplateList([.. Enumerable.Repeat(list, (int)count).SelectMany(items => items)], list.IsTuple);
    }

    private static long ToLong(object? number) => number switch
    {
        bool flag => flag ? 1 : 0,
        BigInteger value => (long)value,
        _ => (long)number!,
    };

    private static ChatTemplateException Unsupported(string symbol, object? left, object? right) => TemplateTypes.Fault(
        $"unsupported operand type(s) for {symbol}: '{TemplateTypes.Name(left)}' and '{TemplateTypes.Name(right)}'");
}
