using System.Reflection;
using Cluster.TestKit.Processes;

[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]

namespace Cluster.EndToEnd.Tests;

/// <summary>Starts the silo that was built with these tests.</summary>
internal static class Silos
{
    /// <summary>Path of the built Cluster.Silo.dll.</summary>
    public static string Program { get; } = typeof(Silos).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "SiloProgram").Value!;

    /// <summary>Starts a silo and waits until it is ready.</summary>
    public static Task<SiloProcess> LaunchAsync(params string[] arguments) => SiloProcess.LaunchAsync(Program, arguments);
}
