using System.Text;
using System.Text.Json;
using Cluster.DemoModels.Text;

namespace Cluster.Torch.Tests.DemoModels;

/// <summary>The vocabulary of a bundled model, from the merges of its tokenizer.json.</summary>
internal static class TokenizerFile
{
    public static BytePairVocabulary Read(string folder)
    {
        using JsonDocument file = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "tokenizer.json"), Encoding.UTF8));
        JsonElement model = file.RootElement.GetProperty("model");
        Dictionary<string, int> ids = model.GetProperty("vocab").EnumerateObject().ToDictionary(token => token.Name, token => token.Value.GetInt32());
        return new BytePairVocabulary(model.GetProperty("merges").EnumerateArray()
            .Select(merge => merge.GetString()!.Split(' ')).Select(pair => (ids[pair[0]], ids[pair[1]])));
    }
}
