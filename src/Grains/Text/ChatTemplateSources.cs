using System.Text;
using Cluster.Grains.Text.Tokenization;

namespace Cluster.Grains.Text;

/// <summary>Finds a checkpoint's chat templates: chat_template.jinja, else tokenizer_config.json's entry.</summary>
internal static class ChatTemplateSources
{
    public const string DefaultName = "default";
    public const string FileName = "chat_template.jinja";

    private const string Key = "chat_template";

    /// <summary>Template texts by name; empty where the checkpoint has none.</summary>
    public static Dictionary<string, string> Read(string modelFolder)
    {
        var sources = new Dictionary<string, string>();
        if (TokenizerFiles.ReadFile(modelFolder, TokenizerFiles.ConfigName) is { } config)
            AddConfigured(JsonField.Parse(TokenizerFiles.ConfigName, config), sources);
        if (TokenizerFiles.ReadFile(modelFolder, FileName) is { } file)
            sources[DefaultName] = Encoding.UTF8.GetString(file);
        return sources;
    }

    private static void AddConfigured(JsonField config, Dictionary<string, string> sources)
    {
        if (config.Optional(Key) is not { } field)
            return;
        if (field.IsString)
        {
            sources[DefaultName] = field.AsString();
            return;
        }

        foreach (JsonField entry in field.Items())
            sources[entry.Required("name").AsString()] = entry.Required("template").AsString();
    }
}
