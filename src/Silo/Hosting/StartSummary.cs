using System.Collections.Immutable;
using System.Globalization;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>What a person sees when the silo is up.</summary>
internal static class StartSummary
{
    /// <summary>Prints models, devices, KV tokens, the URL and a line to try.</summary>
    public static void Print(TextWriter output, SiloIdentity identity, string url, ImmutableArray<LoadedModel> models)
    {
        output.WriteLine($"Cluster {ProductVersion.Text}, silo {identity.Name}, data in {identity.DataFolder}");
        foreach (IGrouping<string, LoadedModel> replicas in models.GroupBy(model => model.Description.Name))
        {
            LoadedModel model = replicas.First();
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"  {model.Description.Name}: {model.Description.Architecture}, {Millions(model.Description.Parameters)} in {model.Description.Weights}, context {model.Description.MaxModelLength}"
                + $"{(model.Description.HasTokenizer ? "" : ", token ids only")}"));
            foreach (LoadedModel replica in replicas)
            {
                output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"    on {replica.Shard.Device}, KV cache {replica.Budget.Tokens} tokens ({ByteSize.Format(replica.Budget.Bytes)})"));
            }
        }
        output.WriteLine($"Listening on {url}");
        if (models.FirstOrDefault() is { } first)
            output.WriteLine($"Try: {Curl(url, first)}");
        output.Flush();
    }

    private static string Curl(string url, LoadedModel model)
    {
        (string path, string question) = model switch
        {
            { HasChatTemplate: true } => ("chat/completions", "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 times 7?\"}]"),
            { Description.HasTokenizer: true } => ("completions", "\"prompt\":\"Once upon a time\""),
            _ => ("completions", "\"prompt\":[1,2,3]"),
        };
        return $"curl -N {url}/v1/{path} -H 'Content-Type: application/json' -d '{{\"model\":\"{model.Description.Name}\",{question},\"max_tokens\":64,\"stream\":true}}'";
    }

    private static string Millions(long parameters) => string.Create(CultureInfo.InvariantCulture, $"{parameters / 1e6:0.##} M parameters");
}
