namespace Cluster.Grains.Text.Tokenization;

/// <summary>The raw tokenizer files of a model folder; a file that is not there is null.</summary>
internal sealed record TokenizerFiles
{
    public const string TokenizerJsonName = "tokenizer.json";
    public const string SentencePieceName = "tokenizer.model";
    public const string ConfigName = "tokenizer_config.json";
    public const string SpecialTokensMapName = "special_tokens_map.json";
    public const string AddedTokensName = "added_tokens.json";

    /// <summary>Largest file that is read, in bytes. The largest known tokenizer.json (Gemma 3) has 33 MB.</summary>
    public const long MaxFileBytes = 256L << 20;

    public byte[]? TokenizerJson { get; init; }

    public byte[]? SentencePiece { get; init; }

    public byte[]? Config { get; init; }

    public byte[]? SpecialTokensMap { get; init; }

    public byte[]? AddedTokens { get; init; }

    /// <summary>Whether the folder has a file that a tokenizer can be made of.</summary>
    public static bool ArePresent(string folder) =>
        File.Exists(Path.Combine(folder, TokenizerJsonName)) || File.Exists(Path.Combine(folder, SentencePieceName));

    public static TokenizerFiles Read(string folder)
    {
        byte[]? tokenizerJson = ReadFile(folder, TokenizerJsonName);
        byte[]? sentencePiece = tokenizerJson is null ? ReadFile(folder, SentencePieceName) : null;
        if (tokenizerJson is null && sentencePiece is null)
        {
            throw new TokenizerFormatException(
                TokenizerJsonName, "the file", folder, $"is missing, and so is {SentencePieceName}");
        }

        return new TokenizerFiles
        {
            TokenizerJson = tokenizerJson,
            SentencePiece = sentencePiece,
            Config = ReadFile(folder, ConfigName),
            SpecialTokensMap = ReadFile(folder, SpecialTokensMapName),
            AddedTokens = sentencePiece is null ? null : ReadFile(folder, AddedTokensName),
        };
    }

    /// <summary>Reads one file of the folder, or null where it is absent.</summary>
    public static byte[]? ReadFile(string folder, string name)
    {
        var file = new FileInfo(Path.Combine(folder, name));
        if (!file.Exists)
            return null;
        if (file.Length > MaxFileBytes)
        {
            throw new TokenizerFormatException(
                name, "the file", $"{file.Length} bytes", $"is larger than {MaxFileBytes} bytes");
        }

        try
        {
            return File.ReadAllBytes(file.FullName);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerFormatException(name, "the file", exception.Message, "cannot be read", exception);
        }
    }
}
