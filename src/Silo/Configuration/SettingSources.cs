using Cluster.Grains;
using Microsoft.Extensions.Configuration;

namespace Cluster.Silo.Configuration;

/// <summary>Reads the settings: flags win over CLUSTER_* variables, those over the section <c>Cluster</c> of the configuration.</summary>
internal static class SettingSources
{
    /// <summary>Section of appsettings.json.</summary>
    public const string Section = "Cluster";

    /// <summary>Reads and checks all settings; every error is one line naming flag, limit and value.</summary>
    public static (ClusterOptions Options, IReadOnlyList<string> Errors) Read(
        IReadOnlyDictionary<string, IReadOnlyList<string>> flags, Func<string, string?> variable, IConfiguration configuration)
    {
        var options = new ClusterOptions();
        var errors = new List<string>();
        var unread = new HashSet<string>();
        IConfigurationSection section = configuration.GetSection(Section);
        foreach (Setting setting in SettingTable.All)
        {
            (IReadOnlyList<string> values, string source) = Find(setting, flags, variable, section);
            if (values.Count == 0 || setting.Read(options, values) is not { } problem)
                continue;
            unread.Add(setting.Name);
            errors.Add($"{setting.Flag}{source}: {problem}");
        }
        errors.AddRange(UnknownKeys(section));
        errors.AddRange(ClusterOptionsValidator.Validate(options, unread));
        return (options, errors);
    }

    private static (IReadOnlyList<string> Values, string Source) Find(
        Setting setting, IReadOnlyDictionary<string, IReadOnlyList<string>> flags, Func<string, string?> variable, IConfigurationSection section)
    {
        if (flags.TryGetValue(setting.Name, out IReadOnlyList<string>? given))
            return (given, "");
        // Kubernetes sets CLUSTER_PORT=tcp://... for a service called cluster: that is not ours.
        if (variable(setting.Variable) is { Length: > 0 } text && !text.StartsWith("tcp://", StringComparison.Ordinal))
            return (Split(setting, text), $" ({setting.Variable})");
        IConfigurationSection key = section.GetSection(setting.Key);
        if (key.Value is { Length: > 0 } scalar)
            return (Split(setting, scalar), $" ({Section}:{setting.Key})");
        return ([.. key.GetChildren().Select(child => child.Value ?? "")], $" ({Section}:{setting.Key})");
    }

    private static string[] Split(Setting setting, string text) =>
        setting.Repeatable ? text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) : [text];

    private static IEnumerable<string> UnknownKeys(IConfigurationSection section)
    {
        var known = SettingTable.All.Select(setting => setting.Key).ToHashSet(StringComparer.OrdinalIgnoreCase);
        return section.GetChildren()
            .Where(child => !known.Contains(child.Key))
            .Select(child => $"{Section}:{child.Key}: unknown setting (section {Section} of appsettings.json, or the environment)");
    }
}
