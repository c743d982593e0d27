using Cluster.Kernels.Models;

namespace Cluster.DemoModels;

/// <summary>Runs a command whose input may be wrong: the reason goes to the error stream, without a stack trace.</summary>
internal static class Attempt
{
    /// <summary>Returns the process's exit code.</summary>
    public static int Run(Action work)
    {
        try
        {
            work();
            return 0;
        }
        catch (Exception exception) when (exception is ArgumentException or IOException or CheckpointFormatException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine(exception.Message);
            return 1;
        }
    }
}
