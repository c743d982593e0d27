using System.Text;

namespace Cluster.Silo.Configuration;

/// <summary>The text of <c>--help</c>, from <see cref="SettingTable"/>.</summary>
internal static class HelpText
{
    private const int Column = 34;
    private const int Width = 110;

    /// <summary>Renders the page.</summary>
    public static string Render()
    {
        var text = new StringBuilder();
        text.AppendLine("A silo of an inference cluster: serves Hugging Face checkpoints through an OpenAI-compatible API.");
        text.AppendLine();
        text.AppendLine("Usage: silo [flags]");
        foreach (IGrouping<string, Setting> group in SettingTable.All.GroupBy(setting => setting.Group))
        {
            text.AppendLine().Append(group.Key).AppendLine(":");
            foreach (Setting setting in group)
                AppendSetting(text, setting);
        }
        text.AppendLine().AppendLine("Other:");
        AppendRow(text, "  -h, --help", "This page.");
        AppendRow(text, "  --version", "The version.");
        text.AppendLine();
        text.AppendLine("Every setting is also read from the environment (CLUSTER_MAX_NUM_SEQS or CLUSTER__MAXNUMSEQS; lists separated by");
        text.AppendLine("commas) and from appsettings.json, section Cluster (\"MaxNumSeqs\"). Flags win over the environment, the");
        text.AppendLine("environment over appsettings.json. Sizes take K, M, G, T (powers of 1024).");
        return text.ToString().TrimEnd();
    }

    private static void AppendSetting(StringBuilder text, Setting setting)
    {
        string flag = setting.IsSwitch ? $"  --[no-]{setting.Name}" : $"  {setting.Flag} {setting.Placeholder}";
        string shownDefault = setting.Default.Length == 0 ? "" : $" Default: {setting.Default}.";
        AppendRow(text, flag, setting.Help + shownDefault);
    }

    private static void AppendRow(StringBuilder text, string flag, string explanation)
    {
        text.Append(flag);
        int position = flag.Length;
        if (position >= Column - 1)
        {
            text.AppendLine();
            position = 0;
        }
        foreach (string line in Wrap(explanation))
        {
            text.Append(' ', Column - position).AppendLine(line);
            position = 0;
        }
    }

    private static IEnumerable<string> Wrap(string text)
    {
        var line = new StringBuilder();
        foreach (string word in text.Split(' '))
        {
            if (line.Length > 0 && line.Length + 1 + word.Length > Width - Column)
            {
                yield return line.ToString();
                line.Clear();
            }
            if (line.Length > 0)
                line.Append(' ');
            line.Append(word);
        }
        yield return line.ToString();
    }
}
