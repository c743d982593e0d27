using System.CommandLine;
using System.CommandLine.Parsing;

namespace Cluster.Cli;

/// <summary>Checks of option values that the parser's types do not make.</summary>
internal static class OptionChecks
{
    /// <summary>Refuses values that <paramref name="accepts"/> does not; <paramref name="what"/> completes "must be ...".</summary>
    public static void Check<T>(this Option<T> option, Predicate<T?> accepts, string what) => option.Validators.Add(result =>
    {
        if (result.Tokens.Count > 0 && TryRead(result, out T? value) && !accepts(value))
            result.AddError($"{option.Name} must be {what}; it is {result.Tokens[0].Value}.");
    });

    /// <summary>False if the text is not even of the type; the parser says so itself.</summary>
    private static bool TryRead<T>(OptionResult result, out T? value)
    {
        try
        {
            value = result.GetValueOrDefault<T>();
            return true;
        }
        catch (InvalidOperationException)
        {
            value = default;
            return false;
        }
    }
}
