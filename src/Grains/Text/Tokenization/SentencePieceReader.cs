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
        return Build(TokenizerFiles.SentencePieceName, file.Pieces, file.ByteFallback, file.AddDummyPrefix, settings);
    }

    /// <summary>Makes a tokenizer of pieces, whichever file they stood in.</summary>
    public static TokenizerDefinition Build(
        string file, IReadOnlyList<SentencePiece> pieces, bool byteFallback, bool addDummyPrefix, TokenizerSettings settings)
    {
        var vocabulary = new TokenTable(pieces.Count);
        for (int id = 0; id < pieces.Count; id++)
        {
            if (pieces[id].Type != PieceType.Unused && !vocabulary.TryAdd(Encoding.UTF8.GetBytes(pieces[id].Text), id))
                throw new TokenizerFormatException(file, $"pieces[{id}].piece", pieces[id].Text, "is there twice");
        }

        return new TokenizerDefinition
        {
            File = file,
            Vocabulary = vocabulary,
            Merges = BuildMerges(pieces, vocabulary),
            Options = new BytePairOptions
            {
                ByteLevel = false,
                ByteFallback = byteFallback,
                UnknownId = UnknownId(file, pieces),
                FuseUnknown = true,
            },
            AddedTokens = AddedTokens(pieces, settings),
            Normalization = Normalization.SentencePiece(addDummyPrefix),
            Decoder = DecoderShape.SentencePiece(stripLeadingSpace: addDummyPrefix),
            Frame = Frame(vocabulary, settings),
        };
    }

    private static int UnknownId(string file, IReadOnlyList<SentencePiece> pieces)
    {
        for (int id = 0; id < pieces.Count; id++)
        {
            if (pieces[id].Type == PieceType.Unknown)
                return id;
        }

        throw new TokenizerFormatException(file, "pieces", "no unknown piece", "must have one");
    }

    private static MergeTable BuildMerges(IReadOnlyList<SentencePiece> pieces, TokenTable vocabulary)
    {
        int[] byScore = [.. Enumerable.Range(0, pieces.Count)
            .Where(id => pieces[id].Type == PieceType.Normal)
            .OrderByDescending(id => pieces[id].Score)];
        var merges = new MergeTable(2 * pieces.Count);
        int rank = 0;
        for (int i = 0; i < byScore.Length; i++)
        {
            // Equal scores share a rank: among them the leftmost pair goes first.
            if (i > 0 && pieces[byScore[i]].Score != pieces[byScore[i - 1]].Score)
                rank = i;
            AddSplits(pieces, vocabulary, byScore[i], rank, merges);
        }

        return merges;
    }

    private static void AddSplits(IReadOnlyList<SentencePiece> pieces, TokenTable vocabulary, int merged, int rank, MergeTable merges)
    {
        ReadOnlySpan<byte> spelling = vocabulary[merged];
        for (int at = 1; at < spelling.Length; at++)
        {
            bool insideCharacter = (spelling[at] & 0xC0) == 0x80;
            if (insideCharacter)
                continue;
            int left = vocabulary.Find(spelling[..at]);
            int right = vocabulary.Find(spelling[at..]);
            if (left >= 0 && right >= 0 && IsNormal(pieces, left) && IsNormal(pieces, right))
                merges.Add(left, right, rank, merged);
        }
    }

    private static bool IsNormal(IReadOnlyList<SentencePiece> pieces, int id) => pieces[id].Type == PieceType.Normal;

    private static List<AddedToken> AddedTokens(IReadOnlyList<SentencePiece> pieces, TokenizerSettings settings)
    {
        var tokens = settings.AddedTokens.DistinctBy(token => token.Content).ToList();
        var known = tokens.Select(token => token.Content).ToHashSet();
        for (int id = 0; id < pieces.Count; id++)
        {
            SentencePiece piece = pieces[id];
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
}
