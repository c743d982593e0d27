using System.Net;
using Cluster.Grains;

namespace Cluster.Silo.Configuration;

/// <summary>Checks all settings once, at start, and reports every error together.</summary>
internal static class ClusterOptionsValidator
{
    /// <summary>One line per error; settings named in <paramref name="unread"/> already have theirs.</summary>
    public static IReadOnlyList<string> Validate(ClusterOptions options, IReadOnlySet<string> unread)
    {
        var errors = new List<string>();
        foreach (Setting setting in SettingTable.All)
        {
            if (!unread.Contains(setting.Name) && setting.Check(options) is { } problem)
                errors.Add($"{setting.Flag}: {problem}");
        }
        CheckNames(options, errors);
        CheckAddresses(options, errors);
        if (!unread.Contains("devices") && !DeviceList.TryParse(options.Devices, out _, out string reason))
            errors.Add($"--devices: {reason}");
        return errors;
    }

    private static void CheckNames(ClusterOptions options, List<string> errors)
    {
        int models = Math.Max(1, options.Model.Count);
        if (options.ServedModelName.Count > models)
            errors.Add($"--served-model-name: at most one per --model ({models}), got {options.ServedModelName.Count}");
        foreach (IGrouping<string, string> name in options.ServedModelName.GroupBy(name => name).Where(group => group.Count() > 1))
            errors.Add($"--served-model-name: '{name.Key}' is given {name.Count()} times, names must differ");
        if (options.SiloName is { } silo && silo.Contains('/'))
            errors.Add($"--silo-name: must not contain '/', got '{silo}'");
    }

    private static void CheckAddresses(ClusterOptions options, List<string> errors)
    {
        if (!IPAddress.TryParse(options.Host, out _) && options.Host != "localhost")
            errors.Add($"--host: must be an IP address or localhost, got '{options.Host}'");
        (string Flag, int? Port)[] ports = [("--port", options.Port), ("--silo-port", options.SiloPort), ("--gateway-port", options.GatewayPort), ("--mesh-port", options.MeshPort)];
        foreach (var group in ports.Where(port => port.Port is > 0).GroupBy(port => port.Port).Where(group => group.Count() > 1))
            errors.Add($"{string.Join(" and ", group.Select(port => port.Flag))}: must differ, got {group.Key}");
    }
}
