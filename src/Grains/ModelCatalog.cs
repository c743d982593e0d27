using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Cluster.Contracts;

namespace Cluster.Grains;

/// <summary>The models this silo can tokenize for and answer about, by served name.</summary>
internal sealed class ModelCatalog
{
    private readonly ConcurrentDictionary<string, ServedModel> _models = new(StringComparer.Ordinal);

    /// <summary>Served names in the order of their names.</summary>
    public IReadOnlyList<ServedModel> All => [.. _models.Values.OrderBy(model => model.Description.Name, StringComparer.Ordinal)];

    /// <summary>Adds or replaces a model.</summary>
    public void Add(ServedModel model) => _models[model.Description.Name] = model;

    /// <summary>Finds a model by served name.</summary>
    public bool TryGet(string name, [NotNullWhen(true)] out ServedModel? model) => _models.TryGetValue(name, out model);

    /// <summary>Finds a model by served name, or refuses with the names there are.</summary>
    public ServedModel Get(string name) => TryGet(name, out ServedModel? model)
        ? model
        : throw new RequestRejectedException(
            RejectionReason.ModelNotFound,
            $"The model '{name}' does not exist. Served models: {string.Join(", ", All.Select(served => served.Description.Name))}.",
            "model");
}
