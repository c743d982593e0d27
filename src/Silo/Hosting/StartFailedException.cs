namespace Cluster.Silo.Hosting;

/// <summary>The silo cannot start; the message is the one line that the user sees.</summary>
internal sealed class StartFailedException : Exception
{
    /// <summary>Makes the exception; line breaks of <paramref name="message"/> are folded.</summary>
    public StartFailedException(string message, Exception? inner = null)
        : base(string.Join(' ', message.Split(['\r', '\n'], StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)), inner)
    {
    }
}
