namespace Cluster.Grains.Text.Tokenization;

/// <summary>What a piece of a SentencePiece model is for; the numbers are the file format's.</summary>
internal enum PieceType
{
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// <summary>One entry of the vocabulary.</summary>
internal readonly record struct SentencePiece(string Text, float Score, PieceType Type);

/// <summary>
/// A tokenizer.model (SentencePiece's ModelProto) as far as BPE without a character map needs it; anything that would
/// change the tokens and is not implemented is refused.
/// </summary>
internal sealed class SentencePieceFile
{
    private const string FileName = TokenizerFiles.SentencePieceName;
    private const int BytePairModel = 2;

    private readonly List<SentencePiece> _pieces = [];
    private int _modelType = 1;

    public IReadOnlyList<SentencePiece> Pieces => _pieces;

    /// <summary>A space mark is put before the text.</summary>
    public bool AddDummyPrefix { get; private set; } = true;

    public bool ByteFallback { get; private set; }

    public static SentencePieceFile Read(byte[] content)
    {
        var file = new SentencePieceFile();
        var reader = new ProtobufReader(content, "model");
        while (reader.Read())
        {
            switch (reader.Field)
            {
                case 1: file.AddPiece(reader.Bytes); break;
                case 2: file.ReadTrainer(reader.Bytes); break;
                case 3: file.ReadNormalizer(reader.Bytes); break;
            }
        }

        if (file._modelType != BytePairModel)
            throw Refuse("trainer_spec.model_type", file._modelType.ToString(), $"must be {BytePairModel} (BPE)");
        if (file._pieces.Count == 0)
            throw Refuse("pieces", "nothing", "is missing");
        return file;
    }

    private void AddPiece(ReadOnlySpan<byte> message)
    {
        string path = $"pieces[{_pieces.Count}]";
        if (_pieces.Count > TokenizerLimits.MaxTokenId)
            throw Refuse(path, "one more", $"must end at {TokenizerLimits.MaxTokenId}");
        (string text, float score, long type) = ("", 0f, (long)PieceType.Normal);
        var reader = new ProtobufReader(message, path);
        while (reader.Read())
        {
            switch (reader.Field)
            {
                case 1: text = reader.Text; break;
                case 2: score = reader.Float; break;
                case 3: type = reader.Integer; break;
            }
        }

        if (text.Length is 0 or > TokenizerLimits.MaxSpellingBytes / 3)
            throw Refuse(path + ".piece", text, "must have a sensible length");
        if (float.IsNaN(score))
            throw Refuse(path + ".score", "NaN", "must be a number");
        if (type is not ((long)PieceType.Normal or (long)PieceType.Unknown or (long)PieceType.Control or (long)PieceType.Byte))
            throw Refuse(path + ".type", type.ToString(), "is a piece type that is not supported");
        _pieces.Add(new SentencePiece(text, score, (PieceType)type));
    }

    private void ReadTrainer(ReadOnlySpan<byte> message)
    {
        var reader = new ProtobufReader(message, "trainer_spec");
        while (reader.Read())
        {
            switch (reader.Field)
            {
                case 3: _modelType = (int)reader.Integer; break;
                case 35: ByteFallback = reader.Flag; break;
                case 24 when reader.Flag:
                    throw Refuse("trainer_spec.treat_whitespace_as_suffix", "true", "is not supported");
            }
        }
    }

    private void ReadNormalizer(ReadOnlySpan<byte> message)
    {
        bool removeExtraWhitespace = true;
        var reader = new ProtobufReader(message, "normalizer_spec");
        while (reader.Read())
        {
            switch (reader.Field)
            {
                case 2 when reader.Bytes.Length > 0:
                    throw Refuse("normalizer_spec.precompiled_charsmap", $"{reader.Bytes.Length} bytes", "is not supported");
                case 3: AddDummyPrefix = reader.Flag; break;
                case 4: removeExtraWhitespace = reader.Flag; break;
                case 5 when !reader.Flag:
                    throw Refuse("normalizer_spec.escape_whitespaces", "false", "is not supported");
            }
        }

        if (removeExtraWhitespace)
            throw Refuse("normalizer_spec.remove_extra_whitespaces", "true", "is not supported");
    }

    private static TokenizerFormatException Refuse(string field, string value, string problem) =>
        new(FileName, field, value, problem);
}
