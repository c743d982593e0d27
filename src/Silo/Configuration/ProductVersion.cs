using System.Reflection;

namespace Cluster.Silo.Configuration;

/// <summary>Version of this build.</summary>
internal static class ProductVersion
{
    /// <summary>For example 0.1.0.</summary>
    public static string Text { get; } = typeof(ProductVersion).Assembly
        .GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0.0.0";
}
