using System.Globalization;
using Cluster.Grains;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>What a person sees when the silo is up.</summary>
internal static class StartSummary
{
    /// <summary>Prints models, devices, KV tokens, the URL and a line to try.</summary>
    public static void Print(TextWriter output, SiloIdentity identity, string url, IReadOnlyList<LoadedShard> shards, ModelCatalog catalog)
    {
        output.WriteLine($"Cluster {ProductVersion.Text}, silo {identity.Name}, data in {identity.DataFolder}");
        foreach (IGrouping<string, LoadedShard> replicas in shards.GroupBy(shard => shard.Description.Name))
        {
            LoadedShard model = replicas.First();
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"  {model.Description.Name}: {model.Description.Architecture}, {Millions(model.Description.Parameters)} in {model.Description.Weights}, context {model.Description.MaxModelLength}"
                + $"{(model.Description.HasTokenizer ? "" : ", token ids only")}"));
            foreach (LoadedShard shard in replicas)
            {
                output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"    {Part(shard.Part)}on {shard.Part.Device}, KV cache {shard.Budget.Tokens} tokens ({ByteSize.Format(shard.Budget.Bytes)})"));
            }
        }
        if (shards.Count == 0)
            output.WriteLine("  no shard is placed here yet: the devices are free for the models of the cluster");
        output.WriteLine($"Listening on {url}");
        // Beside a draft model it is the target that one wants to talk to.
        if (shards.MaxBy(shard => shard.Description.Parameters) is { } largest && catalog.TryGet(largest.Description.Name, out ServedModel? served))
            output.WriteLine($"Try: {Curl(url, served)}");
        output.Flush();
    }

    private static string Part(ShardPart part) => part.Layout.Shards == 1 ? "" : $"rank {part.Rank} of {part.Layout.Shards} ";

    private static string Curl(string url, ServedModel model)
    {
        (string path, string question) = model switch
        {
            { ChatTemplate: not null } => ("chat/completions", "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 times 7?\"}]"),
            { Description.HasTokenizer: true } => ("completions", "\"prompt\":\"Once upon a time\""),
            _ => ("completions", "\"prompt\":[1,2,3]"),
        };
        return $"curl -N {url}/v1/{path} -H 'Content-Type: application/json' -d '{{\"model\":\"{model.Description.Name}\",{question},\"max_tokens\":64,\"stream\":true}}'";
    }

    private static string Millions(long parameters) => string.Create(CultureInfo.InvariantCulture, $"{parameters / 1e6:0.##} M parameters");
}
