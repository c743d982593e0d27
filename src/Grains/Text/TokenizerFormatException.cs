namespace Cluster.Grains.Text;

/// <summary>
/// A tokenizer file that cannot be used: missing, damaged, hostile, or built from a component this engine does not
/// know. Names the file, the field and the value that was found there.
/// </summary>
internal sealed class TokenizerFormatException : Exception
{
    private const int LongestValue = 80;

    /// <param name="file">File name without folder, such as <c>tokenizer.json</c>.</param>
    /// <param name="field">Path of the field inside the file, such as <c>model.merges[12]</c>.</param>
    /// <param name="value">What was found there, in the file's own spelling; long values are cut.</param>
    /// <param name="problem">What is wrong with it, as the end of a sentence that starts with the field.</param>
    /// <param name="innerException">What was thrown by the parser below, if anything.</param>
    public TokenizerFormatException(
        string file, string field, string value, string problem, Exception? innerException = null)
        : base($"{file}: {field} {problem} (found {Cut(value)}).", innerException)
    {
        File = file;
        Field = field;
        Value = Cut(value);
    }

    /// <summary>File name without folder.</summary>
    public string File { get; }

    /// <summary>Path of the field inside the file.</summary>
    public string Field { get; }

    /// <summary>What was found there, cut to 80 characters.</summary>
    public string Value { get; }

    private static string Cut(string value) => value.Length <= LongestValue ? value : value[..LongestValue] + "...";
}
