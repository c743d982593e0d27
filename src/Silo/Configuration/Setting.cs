using System.Globalization;
using Cluster.Grains;

namespace Cluster.Silo.Configuration;

/// <summary>One setting of the silo: how it is spelled, read and limited.</summary>
internal sealed class Setting
{
    /// <summary>Name in kebab-case, without the dashes.</summary>
    public required string Name { get; init; }

    /// <summary>Heading in <c>--help</c>.</summary>
    public required string Group { get; init; }

    /// <summary>What stands for the value in <c>--help</c>.</summary>
    public required string Placeholder { get; init; }

    /// <summary>One line of explanation.</summary>
    public required string Help { get; init; }

    /// <summary>Default as <c>--help</c> prints it.</summary>
    public string Default { get; init; } = "";

    /// <summary>Whether the setting may be given several times.</summary>
    public bool Repeatable { get; init; }

    /// <summary>Whether the flag needs no value (and has a <c>--no-</c> form).</summary>
    public bool IsSwitch { get; init; }

    /// <summary>Reads the values into the options; returns what is wrong, or null.</summary>
    public required Func<ClusterOptions, IReadOnlyList<string>, string?> Read { get; init; }

    /// <summary>Checks the options' value; returns what is wrong, or null.</summary>
    public Func<ClusterOptions, string?> Check { get; init; } = _ => null;

    /// <summary>The flag.</summary>
    public string Flag => "--" + Name;

    /// <summary>The member's name: also the key in the section <c>Cluster</c>.</summary>
    public string Key => string.Concat(Name.Split('-').Select(word => char.ToUpperInvariant(word[0]) + word[1..]));

    /// <summary>The environment variable.</summary>
    public string Variable => "CLUSTER_" + Name.Replace('-', '_').ToUpperInvariant();
}

/// <summary>What a setting's group has in common while the table is built.</summary>
internal sealed class SettingGroup(string group)
{
    /// <summary>A text.</summary>
    public Setting Text(string name, string placeholder, string help, string shownDefault, Action<ClusterOptions, string> set) => new()
    {
        Name = name,
        Group = group,
        Placeholder = placeholder,
        Help = help,
        Default = shownDefault,
        Read = (options, values) =>
        {
            if (values[^1].Length == 0)
                return "needs a value, got an empty one";
            set(options, values[^1]);
            return null;
        },
    };

    /// <summary>A JSON object that <paramref name="check"/> finds nothing wrong with.</summary>
    public Setting Json(
        string name, string help, string shownDefault, Func<string, string?> check, Func<ClusterOptions, string?> get, Action<ClusterOptions, string> set) => new()
    {
        Name = name,
        Group = group,
        Placeholder = "JSON",
        Help = help,
        Default = shownDefault,
        Read = (options, values) =>
        {
            set(options, values[^1]);
            return null;
        },
        Check = options => get(options) is { } value ? check(value) : null,
    };

    /// <summary>One of a few words.</summary>
    public Setting Choice(string name, string[] allowed, string help, Func<ClusterOptions, string> get, Action<ClusterOptions, string> set)
    {
        string words = string.Join(", ", allowed);
        return new Setting
        {
            Name = name,
            Group = group,
            Placeholder = string.Join('|', allowed),
            Help = help,
            Default = get(new ClusterOptions()),
            Read = (options, values) =>
            {
                set(options, values[^1]);
                return null;
            },
            Check = options => allowed.Contains(get(options)) ? null : $"must be one of {words}, got '{get(options)}'",
        };
    }

    /// <summary>A list of texts.</summary>
    public Setting List(string name, string placeholder, string help, string shownDefault, Func<ClusterOptions, List<string>> get) => new()
    {
        Name = name,
        Group = group,
        Placeholder = placeholder,
        Help = help,
        Default = shownDefault,
        Repeatable = true,
        Read = (options, values) =>
        {
            List<string> list = get(options);
            list.Clear();
            list.AddRange(values);
            return null;
        },
        Check = options => get(options).Any(string.IsNullOrWhiteSpace) ? "holds an empty value" : null,
    };

    /// <summary>A switch that is on by default or not.</summary>
    public Setting Switch(string name, string help, Func<ClusterOptions, bool> get, Action<ClusterOptions, bool> set) => new()
    {
        Name = name,
        Group = group,
        Placeholder = "true|false",
        Help = help,
        Default = get(new ClusterOptions()) ? "true" : "false",
        IsSwitch = true,
        Read = (options, values) =>
        {
            if (!bool.TryParse(values[^1], out bool value))
                return $"must be true or false, got '{values[^1]}'";
            set(options, value);
            return null;
        },
    };

    /// <summary>A whole number between limits; null stands for an automatic value.</summary>
    public Setting Integer(
        string name, string help, string shownDefault, long minimum, long maximum,
        Func<ClusterOptions, long?> get, Action<ClusterOptions, long> set) =>
        Number(name, "N", help, shownDefault, minimum, maximum, get, set, ParseInteger);

    /// <summary>A whole number between limits, or the word auto, which stands for null.</summary>
    public Setting IntegerOrAuto(string name, string help, long minimum, long maximum, Func<ClusterOptions, long?> get, Action<ClusterOptions, long?> set)
    {
        Setting number = Integer(name, help, "auto", minimum, maximum, get, (options, value) => set(options, value));
        return new Setting
        {
            Name = name,
            Group = group,
            Placeholder = "N|auto",
            Help = help,
            Default = "auto",
            Read = (options, values) =>
            {
                if (values[^1] != "auto")
                    return number.Read(options, values) is { } problem ? $"{problem}; or auto" : null;
                set(options, null);
                return null;
            },
            Check = number.Check,
        };
    }

    /// <summary>A number of bytes, also as 512M or 4GiB.</summary>
    public Setting Bytes(
        string name, string help, string shownDefault, long minimum, long maximum,
        Func<ClusterOptions, long?> get, Action<ClusterOptions, long> set) =>
        Number(name, "BYTES", help, shownDefault, minimum, maximum, get, set, ByteSize.TryParse);

    private Setting Number(
        string name, string placeholder, string help, string shownDefault, long minimum, long maximum,
        Func<ClusterOptions, long?> get, Action<ClusterOptions, long> set, Func<string, long?> parse)
    {
        string Wrong(string actual) => $"must be a whole number between {minimum} and {maximum}, got {actual}";
        return new Setting
        {
            Name = name,
            Group = group,
            Placeholder = placeholder,
            Help = help,
            Default = shownDefault,
            Read = (options, values) =>
            {
                // Limits are checked here too: the setter narrows to the member's type.
                if (parse(values[^1]) is not { } value || value < minimum || value > maximum)
                    return Wrong($"'{values[^1]}'");
                set(options, value);
                return null;
            },
            Check = options => get(options) is { } value && (value < minimum || value > maximum) ? Wrong($"{value}") : null,
        };
    }

    private static long? ParseInteger(string text) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? value : null;
}
