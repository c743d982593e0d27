using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>The draft model that <c>--speculative-config</c> names: a model of its own, which nobody needs to name twice.</summary>
internal static class DraftModel
{
    /// <summary>Served name of the draft among <paramref name="models"/>, which gets the draft if it is named by its path; null when there is none.</summary>
    /// <exception cref="StartFailedException">It is neither a served name nor a path, or the flags around it do not allow one.</exception>
    public static string? AddTo(List<(string Name, string Folder)> models, ClusterOptions options)
    {
        if (options.SpeculativeConfig is null || models.Count == 0 || SpeculativeConfigJson.Parse(options.SpeculativeConfig).Model is not { } draft)
            return null;
        if (!options.EnablePrefixCaching)
            throw new StartFailedException("--speculative-config: a draft model finds its sequences in the prefix cache; leave --no-enable-prefix-caching out");
        string folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(draft));
        int known = models.FindIndex(model => model.Name == draft || model.Folder == folder);
        if (known < 0)
        {
            if (!Directory.Exists(folder) && !File.Exists(folder))
                folder = BundledModels.TryFind(AppContext.BaseDirectory, draft) ?? throw new StartFailedException($"--speculative-config: model '{draft}' is no folder, GGUF file or served name");
            string name = File.Exists(folder) ? Path.GetFileNameWithoutExtension(folder) : Path.GetFileName(folder);
            if (models.Any(model => model.Name == name))
                throw new StartFailedException($"--speculative-config: the draft would be called '{name}' like another model; name that one with --served-model-name");
            models.Add((name, folder));
            return name;
        }

        return models.Count > 1 ? models[known].Name : throw new StartFailedException($"--speculative-config: '{draft}' cannot be the draft of itself");
    }

    /// <summary>What the models guess with: all but the draft itself.</summary>
    /// <exception cref="StartFailedException">The draft has another vocabulary.</exception>
    public static PreparedModel Join(PreparedModel model, PreparedModel? draft, ClusterOptions options)
    {
        if (options.SpeculativeConfig is null)
            return model;
        SpeculativeConfig config = SpeculativeConfigJson.Parse(options.SpeculativeConfig);
        if (draft is null)
            return model with { Declaration = model.Declaration with { Speculation = config } };
        if (draft == model)
            return model;
        (int vocabulary, int drafts) = (model.Served.VocabularySize, draft.Served.VocabularySize);
        if (drafts != vocabulary)
            throw new StartFailedException($"--speculative-config: the draft '{draft.Declaration.Description.Name}' has {drafts} token ids and '{model.Declaration.Description.Name}' has {vocabulary}; they must share one vocabulary");
        return model with { Declaration = model.Declaration with { Speculation = config with { Model = draft.Declaration.Description.Name } } };
    }
}
