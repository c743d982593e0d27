using Cluster.Contracts;

namespace Cluster.TestKit;

/// <summary>Declarations of models that need no files.</summary>
internal static class Declarations
{
    /// <summary>A model under a name.</summary>
    public static ModelDeclaration Of(string name, ModelLayout? layout = null, int? replicas = null, int maxModelLength = 256, string fingerprint = "0123456789abcdef") => new()
    {
        Description = new ModelDescription
        {
            Name = name,
            Path = "fake",
            Fingerprint = fingerprint,
            MaxModelLength = maxModelLength,
            Architecture = "fake",
            QueryHeads = 8,
            Layers = 4,
        },
        Layout = layout ?? ModelLayout.Single,
        Replicas = replicas,
        Dtype = "auto",
        Quantization = "none",
        KvCacheDtype = "auto",
    };
}
