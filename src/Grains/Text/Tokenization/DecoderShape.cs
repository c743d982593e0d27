namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// How token ids become text again: tokenizer.json's <c>decoder</c>, reduced to what its known components can say.
/// Byte-level: all tokens are bytes. Otherwise tokens are text in which spellings are replaced, single bytes may stand
/// as <c>&lt;0x00&gt;</c> tokens, and leading characters of the whole text are stripped.
/// </summary>
internal sealed record DecoderShape
{
    /// <summary>Tokens spell bytes in the GPT-2 alphabet.</summary>
    public bool ByteLevel { get; init; }

    /// <summary>Tokens <c>&lt;0x00&gt;</c> ... <c>&lt;0xFF&gt;</c> are bytes.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>Literal replacements inside each token, in order.</summary>
    public IReadOnlyList<(string Pattern, string Content)> Replacements { get; init; } = [];

    /// <summary>Character that marks a space, dropped from the first token of a text; none if null.</summary>
    public char? DroppedFirstMark { get; init; }

    /// <summary>At most this many <see cref="StripChar"/> are taken from the beginning of the text.</summary>
    public int StripCount { get; init; }

    public char StripChar { get; init; } = ' ';

    /// <summary>What SentencePiece does: marks are spaces, bytes may stand alone, one leading space goes.</summary>
    public static DecoderShape SentencePiece(bool stripLeadingSpace) => new()
    {
        ByteFallback = true,
        Replacements = [("\u2581", " ")],
        StripCount = stripLeadingSpace ? 1 : 0,
    };

    public static DecoderShape Read(JsonField field)
    {
        var steps = new List<JsonField>();
        Flatten(field, steps, depth: 0);
        return new Reader().Read(steps);
    }

    private static void Flatten(JsonField field, List<JsonField> steps, int depth)
    {
        if (depth > PretokenizerReader.MaxDepth)
            throw field.Refuse($"is nested deeper than {PretokenizerReader.MaxDepth}");
        if (field.Required("type").AsString() != "Sequence")
        {
            steps.Add(field);
            return;
        }

        foreach (JsonField step in field.Required("decoders").Items())
            Flatten(step, steps, depth + 1);
    }

    private sealed class Reader
    {
        private readonly List<(string, string)> _replacements = [];
        private DecoderShape _shape = new();
        private bool _perToken = true;
        private bool _fused;

        public DecoderShape Read(List<JsonField> steps)
        {
            foreach (JsonField step in steps)
                Add(step, alone: steps.Count == 1);
            return _shape with { Replacements = _replacements };
        }

        private void Add(JsonField step, bool alone)
        {
            JsonField type = step.Required("type");
            switch (type.AsString())
            {
                case "ByteLevel" when alone:
                    _shape = _shape with { ByteLevel = true };
                    break;
                case "Replace" when _perToken:
                    _replacements.Add(Normalization.ReadReplacement(step));
                    break;
                case "Metaspace" when _perToken:
                    AddMetaspace(step);
                    break;
                case "ByteFallback" when !_fused:
                    _shape = _shape with { ByteFallback = true };
                    _perToken = false;
                    break;
                case "Fuse":
                    _fused = true;
                    _perToken = false;
                    break;
                case "Strip" when _fused:
                    AddStrip(step);
                    break;
                case "ByteLevel" or "Replace" or "Metaspace" or "ByteFallback" or "Strip":
                    throw type.Refuse("stands in an order of decoders that is not supported");
                default:
                    throw type.Refuse("is a decoder type that is not supported");
            }
        }

        private void AddMetaspace(JsonField step)
        {
            char mark = PretokenizerReader.ReadMark(step);
            if (PretokenizerReader.ReadScheme(step) != PrependScheme.Never)
                _shape = _shape with { DroppedFirstMark = mark };
            _replacements.Add((mark.ToString(), " "));
        }

        private void AddStrip(JsonField step)
        {
            JsonField content = step.Required("content");
            string stripped = content.AsString();
            if (stripped.Length != 1)
                throw content.Refuse("must be one character");
            step.Required("stop").AsInt(0, 0);
            int count = step.Required("start").AsInt(0, int.MaxValue);
            _shape = _shape with { StripChar = stripped[0], StripCount = count };
        }
    }
}
