using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains;

namespace Cluster.Silo.Hosting;

/// <summary>
/// Fills the catalog of this silo: every silo tokenizes and answers for every declared model whose path it can read, whether
/// it holds a shard of it or not.
/// </summary>
internal sealed partial class KnownModels(ModelCatalog catalog, ClusterOptions options, TimeProvider time, ILogger<KnownModels> logger)
{
    // A volume may be mounted late.
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(30);
    private readonly Dictionary<string, long> _failures = new(StringComparer.Ordinal);

    /// <summary>Models of this silo's own flags.</summary>
    public void Add(IEnumerable<PreparedModel> models)
    {
        foreach (PreparedModel model in models)
            catalog.Add(model.Served);
    }

    /// <summary>Reads the declared models that are not known yet.</summary>
    public void Learn(ImmutableArray<ModelDeclaration> declarations)
    {
        foreach (ModelDeclaration declaration in declarations)
        {
            string name = declaration.Description.Name;
            if (!catalog.TryGet(name, out ServedModel? known))
                Read(declaration);
            else if (known.Description != declaration.Description && known.Description.Fingerprint == declaration.Description.Fingerprint)
                catalog.Add(known with { Description = declaration.Description });
        }
    }

    private void Read(ModelDeclaration declaration)
    {
        ModelDescription model = declaration.Description;
        if (_failures.TryGetValue(model.Name, out long at) && time.GetElapsedTime(at) < RetryAfter)
            return;
        try
        {
            ServedModel served = ServedModelReader.Read(model.Path, model.Name, options.For(declaration), time);
            if (served.Description.Fingerprint != model.Fingerprint)
                throw new InvalidDataException($"the files are not those that were declared: fingerprint {served.Description.Fingerprint[..12]}, declared {model.Fingerprint[..12]}");
            catalog.Add(served with { Description = model });
        }
        catch (Exception exception)
        {
            _failures[model.Name] = time.GetTimestamp();
            LogUnreadable(model.Name, model.Path, exception.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Model {Model} ({Path}) cannot be read here, so this silo neither serves nor holds it: {Reason}")]
    private partial void LogUnreadable(string model, string path, string reason);
}
