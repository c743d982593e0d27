using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>Rules of declarations. Pure.</summary>
internal static class DeclaredModels
{
    private const int MaxReplicas = 4096;

    /// <summary>
    /// What is declared after a silo reported: new names are added, and what stands stays. A silo that is alone says all there
    /// is: its flags win over what was stored.
    /// </summary>
    /// <exception cref="RequestRejectedException">Another model is declared under one of the names.</exception>
    public static Dictionary<string, ModelDeclaration> Merge(IReadOnlyDictionary<string, ModelDeclaration> known, SiloReport report)
    {
        Dictionary<string, ModelDeclaration> merged = report.ReplaceDeclarations ? [] : new(known, StringComparer.Ordinal);
        foreach (ModelDeclaration declared in report.Declarations)
        {
            string name = declared.Description.Name;
            if (!merged.TryGetValue(name, out ModelDeclaration? standing))
                merged[name] = declared;
            else if (standing.Description.Fingerprint != declared.Description.Fingerprint)
                throw Conflict(report.Silo.Name, declared, standing);
        }

        return merged;
    }

    /// <summary>A declaration with another scale.</summary>
    /// <exception cref="RequestRejectedException">A value is outside its limits.</exception>
    public static ModelDeclaration Scaled(ModelDeclaration declaration, ModelScale scale)
    {
        ModelDescription model = declaration.Description;
        Check("replicas", scale.Replicas ?? 0, 0, MaxReplicas);
        Check("tensor_parallel_size", scale.TensorParallelSize ?? 1, 1, model.QueryHeads, "the model's query heads");
        Check("pipeline_parallel_size", scale.PipelineParallelSize ?? 1, 1, model.Layers, "the model's layers");
        if (scale is { FillDevices: true, Replicas: not null })
            throw new RequestRejectedException(RejectionReason.InvalidRequest, "replicas: a number and 'auto' exclude each other.", "replicas");
        return declaration with
        {
            Replicas = scale.FillDevices ? null : scale.Replicas ?? declaration.Replicas,
            Layout = new ModelLayout(scale.TensorParallelSize ?? declaration.Layout.TensorParallelSize, scale.PipelineParallelSize ?? declaration.Layout.PipelineParallelSize),
        };
    }

    private static void Check(string field, int value, int minimum, int maximum, string? why = null)
    {
        if (value < minimum || value > maximum)
            throw new RequestRejectedException(RejectionReason.InvalidRequest, $"{field}: must be {minimum}..{maximum}{(why is null ? "" : $" ({why})")}, got {value}.", field);
    }

    private static RequestRejectedException Conflict(string silo, ModelDeclaration declared, ModelDeclaration standing) => new(
        RejectionReason.ModelChanged,
        $"Silo {silo} declares '{declared.Description.Name}' from {declared.Description.Path} (fingerprint {declared.Description.Fingerprint[..12]}), "
        + $"but the cluster serves another model under this name, from {standing.Description.Path} (fingerprint {standing.Description.Fingerprint[..12]}). Give it another --served-model-name.",
        "model");
}
