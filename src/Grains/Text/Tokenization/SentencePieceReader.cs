using System.Text;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// Makes a tokenizer from a tokenizer.model. The file has no merges: SentencePiece joins two neighbours whenever their
/// concatenation is a piece, best score first. Here every such pair becomes a merge whose rank is the joined piece's
/// place by score, so the same encoder serves both kinds of file.
/// </summary>
internal static class SentencePieceReader
{
    public static TokenizerDefinition Read(byte[] content, TokenizerSettings settings)
    {
        SentencePieceFile file = SentencePieceFile.Read(content);
        var vocabulary = new TokenTable(file.Pieces.Count);
        for (int id = 0; id < file.Pieces.Count; id++)
        {
            if (!vocabulary.TryAdd(Encoding.UTF8.GetBytes(file.Pieces[id].Text), id))
                throw Refuse($"pieces[{id}].piece", file.Pieces[id].Text, "is there twice");
        }

        int unknownId = UnknownId(file);
        return new TokenizerDefinition
        {
            File = TokenizerFiles.SentencePieceName,
            Vocabulary = vocabulary,
            Merges = BuildMerges(file, vocabulary),
            Options = new BytePairOptions
            {
                ByteLevel = false,
                ByteFallback = file.ByteFallback,
                UnknownId = unknownId,
                FuseUnknown = true,
            },
            AddedTokens = AddedTokens(file, settings),
            Normalization = Normalization.SentencePiece(file.AddDummyPrefix),
            Decoder = DecoderShape.SentencePiece(stripLeadingSpace: file.AddDummyPrefix),
            Frame = Frame(vocabulary, settings),
        };
    }

    private static int UnknownId(SentencePieceFile file)
    {
        for (int id = 0; id < file.Pieces.Count; id++)
        {
            if (file.Pieces[id].Type == PieceType.Unknown)
                return id;
        }

        throw Refuse("pieces", "no unknown piece", "must have one");
    }

    private static MergeTable BuildMerges(SentencePieceFile file, TokenTable vocabulary)
    {
        int[] byScore = [.. Enumerable.Range(0, file.Pieces.Count)
            .Where(id => file.Pieces[id].Type == PieceType.Normal)
            .OrderByDescending(id => file.Pieces[id].Score)];
        var merges = new MergeTable(2 * file.Pieces.Count);
        int rank = 0;
        for (int i = 0; i < byScore.Length; i++)
        {
            // Equal scores share a rank: among them the leftmost pair goes first.
            if (i > 0 && file.Pieces[byScore[i]].Score != file.Pieces[byScore[i - 1]].Score)
                rank = i;
            AddSplits(file, vocabulary, byScore[i], rank, merges);
        }

        return merges;
    }

    private static void AddSplits(SentencePieceFile file, TokenTable vocabulary, int merged, int rank, MergeTable merges)
    {
        ReadOnlySpan<byte> spelling = vocabulary[merged];
        for (int at = 1; at < spelling.Length; at++)
        {
            bool insideCharacter = (spelling[at] & 0xC0) == 0x80;
            if (insideCharacter)
                continue;
            int left = vocabulary.Find(spelling[..at]);
            int right = vocabulary.Find(spelling[at..]);
            if (left >= 0 && right >= 0 && IsNormal(file, left) && IsNormal(file, right))
                merges.Add(left, right, rank, merged);
        }
    }

    private static bool IsNormal(SentencePieceFile file, int id) => file.Pieces[id].Type == PieceType.Normal;

    private static List<AddedToken> AddedTokens(SentencePieceFile file, TokenizerSettings settings)
    {
        var tokens = settings.AddedTokens.DistinctBy(token => token.Content).ToList();
        var known = tokens.Select(token => token.Content).ToHashSet();
        for (int id = 0; id < file.Pieces.Count; id++)
        {
            SentencePiece piece = file.Pieces[id];
            if (piece.Type is PieceType.Control or PieceType.Unknown && known.Add(piece.Text))
                tokens.Add(new AddedToken(id, piece.Text) { Special = true });
        }

        return tokens;
    }

    // Llama's defaults: the begin token is added, the end token is not.
    private static SpecialTokenFrame Frame(TokenTable vocabulary, TokenizerSettings settings)
    {
        int[] Token(bool isAdded, string name, string defaultSpelling)
        {
            string spelling = settings.SpecialTokens.GetValueOrDefault(name, defaultSpelling);
            int id = vocabulary.Find(Encoding.UTF8.GetBytes(spelling));
            return isAdded && id >= 0 ? [id] : [];
        }

        return new SpecialTokenFrame(
            Token(settings.AddBos ?? true, "bos_token", "<s>"), Token(settings.AddEos ?? false, "eos_token", "</s>"));
    }

    private static TokenizerFormatException Refuse(string field, string value, string problem) =>
        new(TokenizerFiles.SentencePieceName, field, value, problem);
}
