using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Cluster.Silo.Configuration;

/// <summary>What the command line asks for.</summary>
/// <param name="Values">Values per setting name, as written.</param>
/// <param name="Errors">Lines for stderr; empty when the command line is fine.</param>
/// <param name="Output">Text of <c>--help</c> or <c>--version</c>; null when the silo shall start.</param>
internal sealed record CommandLineResult(
    IReadOnlyDictionary<string, IReadOnlyList<string>> Values,
    IReadOnlyList<string> Errors,
    string? Output);

/// <summary>The flags, parsed by System.CommandLine from <see cref="SettingTable"/>.</summary>
internal static class CommandLine
{
    /// <summary>Parses the arguments; never writes anything.</summary>
    public static CommandLineResult Parse(string[] arguments)
    {
        var options = SettingTable.All.ToDictionary(setting => setting, NewOption);
        Dictionary<Setting, Option<bool>> negations = SettingTable.All
            .Where(setting => setting.IsSwitch)
            .ToDictionary(setting => setting, setting => new Option<bool>("--no-" + setting.Name));
        var command = new RootCommand("A silo of an inference cluster.");
        command.Options.Clear();
        var help = new HelpOption { Action = new Nothing() };
        var version = new Option<bool>("--version") { Action = new Nothing() };
        foreach (Option option in (IEnumerable<Option>)[help, version, .. options.Values, .. negations.Values])
            command.Options.Add(option);

        ParseResult parsed = command.Parse(arguments);
        if (parsed.GetResult(help) is { Implicit: false })
            return new CommandLineResult(NoValues, [], HelpText.Render());
        if (parsed.GetResult(version) is { Implicit: false })
            return new CommandLineResult(NoValues, [], ProductVersion.Text);
        return new CommandLineResult(Values(parsed, options, negations), Errors(parsed), null);
    }

    private static readonly Dictionary<string, IReadOnlyList<string>> NoValues = [];

    private static Option<string[]> NewOption(Setting setting) => new(setting.Flag)
    {
        // The last one counts where only one is meant, as with vLLM's flags.
        Arity = setting.IsSwitch ? ArgumentArity.ZeroOrMore : ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };

    private static Dictionary<string, IReadOnlyList<string>> Values(
        ParseResult parsed, Dictionary<Setting, Option<string[]>> options, Dictionary<Setting, Option<bool>> negations)
    {
        var values = new Dictionary<string, IReadOnlyList<string>>();
        foreach ((Setting setting, Option<string[]> option) in options)
        {
            if (parsed.GetResult(option) is { Implicit: false } result)
                values[setting.Name] = result.Tokens.Count == 0 && setting.IsSwitch ? ["true"] : [.. result.Tokens.Select(token => token.Value)];
            if (negations.TryGetValue(setting, out Option<bool>? negation) && parsed.GetResult(negation) is { Implicit: false })
                values[setting.Name] = ["false"];
        }
        return values;
    }

    private static List<string> Errors(ParseResult parsed)
    {
        var errors = new List<string>();
        foreach (string token in parsed.UnmatchedTokens)
        {
            errors.Add(token.StartsWith('-')
                ? $"{token}: unknown flag{Suggestion(token)}; --help lists the flags"
                : $"'{token}': unexpected argument; every setting is a flag, --help lists them");
        }
        if (errors.Count == 0)
            errors.AddRange(parsed.Errors.Select(error => error.Message));
        return errors;
    }

    /// <summary>The nearest flag, if one is near.</summary>
    private static string Suggestion(string token)
    {
        string name = token.Split('=')[0];
        Setting nearest = SettingTable.All.MinBy(setting => Distance(setting.Flag, name))!;
        return Distance(nearest.Flag, name) <= Math.Max(2, name.Length / 5) ? $", did you mean {nearest.Flag}?" : "";
    }

    /// <summary>Levenshtein distance.</summary>
    private static int Distance(string left, string right)
    {
        int[] row = [.. Enumerable.Range(0, right.Length + 1)];
        for (int i = 1; i <= left.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= right.Length; j++)
            {
                int substitution = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substitution, 1 + Math.Min(row[j], row[j - 1]));
            }
        }
        return row[^1];
    }

    /// <summary>Keeps System.CommandLine from printing: the caller decides what goes where.</summary>
    private sealed class Nothing : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult) => 0;
    }
}
