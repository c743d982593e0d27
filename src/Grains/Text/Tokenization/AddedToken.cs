namespace Cluster.Grains.Text.Tokenization;

/// <summary>A token that is cut out of the text before anything else happens to it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its spelling in the text.</param>
internal sealed record AddedToken(int Id, string Content)
{
    /// <summary>Only where no word character stands beside it.</summary>
    public bool SingleWord { get; init; }

    /// <summary>Swallows the white space before it.</summary>
    public bool StripLeft { get; init; }

    /// <summary>Swallows the white space after it.</summary>
    public bool StripRight { get; init; }

    /// <summary>Looked for in the normalised text instead of the raw text.</summary>
    public bool Normalized { get; init; }

    /// <summary>Left out of decoded text when special tokens are skipped.</summary>
    public bool Special { get; init; }

    /// <summary>Reads one entry of <c>added_tokens</c> or of <c>added_tokens_decoder</c>, whose key is the id.</summary>
    public static AddedToken Read(JsonField field, int id) => new(id, ReadContent(field))
    {
        SingleWord = field.Flag("single_word", false),
        StripLeft = field.Flag("lstrip", false),
        StripRight = field.Flag("rstrip", false),
        Special = field.Flag("special", false),
        Normalized = field.Flag("normalized", !field.Flag("special", false)),
    };

    private static string ReadContent(JsonField field)
    {
        JsonField content = field.Required("content");
        string text = content.AsString();
        return text.Length > 0 ? text : throw content.Refuse("must not be empty");
    }
}
