namespace Cluster.Kernels.Models;

/// <summary>A file of a checkpoint is not what it must be. Names the file, the field, what is allowed and what was found.</summary>
public class CheckpointFormatException : Exception
{
    /// <summary>Describes one violation.</summary>
    /// <param name="file">File name, with or without its folder.</param>
    /// <param name="field">Key, tensor or part of the file.</param>
    /// <param name="limit">What is allowed.</param>
    /// <param name="actual">What was found; shortened to 200 characters.</param>
    /// <param name="inner">Cause, if another exception told.</param>
    public CheckpointFormatException(string file, string field, string limit, string actual, Exception? inner = null)
        : base($"{Shorten(file)}: {Shorten(field)} must be {limit}, was {Shorten(actual)}.", inner)
    {
        File = file;
        Field = Shorten(field);
        Limit = limit;
        Actual = Shorten(actual);
    }

    /// <summary>File name.</summary>
    public string File { get; }

    /// <summary>Key, tensor or part of the file.</summary>
    public string Field { get; }

    /// <summary>What is allowed.</summary>
    public string Limit { get; }

    /// <summary>What was found.</summary>
    public string Actual { get; }

    // A hostile file may hold a name of a hundred megabytes: a message stays readable.
    private static string Shorten(string text) => text.Length <= 200 ? text : $"{text[..200]}... ({text.Length} characters)";
}

/// <summary>The checkpoint is of an architecture that is not served.</summary>
public sealed class UnsupportedArchitectureException : CheckpointFormatException
{
    /// <summary>Names the architecture and what is served instead.</summary>
    public UnsupportedArchitectureException(string file, string field, string architecture, IReadOnlyList<string> supported)
        : base(file, field, $"one of the supported architectures ({string.Join(", ", supported)})", architecture)
    {
        Architecture = architecture;
        Supported = supported;
    }

    /// <summary>What the checkpoint asks for.</summary>
    public string Architecture { get; }

    /// <summary>What is served.</summary>
    public IReadOnlyList<string> Supported { get; }
}
