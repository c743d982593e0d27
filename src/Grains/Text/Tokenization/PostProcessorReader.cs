namespace Cluster.Grains.Text.Tokenization;

/// <summary>Reads tokenizer.json's <c>post_processor</c>: which special tokens stand around a single text.</summary>
internal static class PostProcessorReader
{
    public static SpecialTokenFrame Read(JsonField? field)
    {
        SpecialTokenFrame frame = SpecialTokenFrame.None;
        if (field is { } root)
            Add(root, ref frame, depth: 0);
        return frame;
    }

    private static void Add(JsonField field, ref SpecialTokenFrame frame, int depth)
    {
        if (depth > PretokenizerReader.MaxDepth)
            throw field.Refuse($"is nested deeper than {PretokenizerReader.MaxDepth}");
        JsonField type = field.Required("type");
        switch (type.AsString())
        {
            case "Sequence":
                foreach (JsonField step in field.Required("processors").Items())
                    Add(step, ref frame, depth + 1);
                break;
            case "ByteLevel":
                // Moves offsets only; ids stay as they are.
                break;
            case "TemplateProcessing":
                SpecialTokenFrame template = ReadTemplate(field);
                frame = new([.. template.Before, .. frame.Before], [.. frame.After, .. template.After]);
                break;
            default:
                throw type.Refuse("is a post_processor type that is not supported");
        }
    }

    private static SpecialTokenFrame ReadTemplate(JsonField field)
    {
        var before = new List<int>();
        var after = new List<int>();
        bool seenText = false;
        JsonField single = field.Required("single");
        foreach (JsonField piece in single.Items())
        {
            if (piece.Optional("Sequence") is { } sequence)
            {
                if (seenText || sequence.Required("id").AsString() != "A")
                    throw piece.Refuse("must be the one place of sequence A");
                seenText = true;
            }
            else
            {
                JsonField token = piece.Required("SpecialToken").Required("id");
                JsonField ids = field.Required("special_tokens").Required(token.AsString()).Required("ids");
                (seenText ? after : before).AddRange(ids.Items().Select(id => id.AsInt(0, TokenizerLimits.MaxTokenId)));
            }
        }

        return seenText ? new(before, after) : throw single.Refuse("must have a place for sequence A");
    }
}
