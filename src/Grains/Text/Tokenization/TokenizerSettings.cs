namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// What tokenizer_config.json and special_tokens_map.json say about a tokenizer: special tokens by name, further added
/// tokens, and whether begin and end tokens are added.
/// </summary>
internal sealed record TokenizerSettings
{
    private static readonly string[] TokenNames =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    // In these families the configuration's flags win over the template in tokenizer.json.
    private static readonly string[] FlagFamilies = ["Llama", "CodeLlama", "Gemma", "Cohere"];

    /// <summary>Spelling by name, such as <c>eos_token</c>.</summary>
    public IReadOnlyDictionary<string, string> SpecialTokens { get; init; } = new Dictionary<string, string>();

    /// <summary>Added tokens by id that tokenizer.json may lack.</summary>
    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    /// <summary>Spellings that count as special although no name is theirs alone.</summary>
    public IReadOnlyList<string> AdditionalSpecialTokens { get; init; } = [];

    /// <summary>Whether the begin token is added; null: as tokenizer.json's template says.</summary>
    public bool? AddBos { get; init; }

    /// <summary>Whether the end token is added; null: as tokenizer.json's template says.</summary>
    public bool? AddEos { get; init; }

    /// <summary>Whether the flags above apply also where tokenizer.json has a template.</summary>
    public bool FlagsWin { get; init; }

    public static TokenizerSettings Read(TokenizerFiles files)
    {
        JsonField? config = Parse(TokenizerFiles.ConfigName, files.Config);
        JsonField? map = Parse(TokenizerFiles.SpecialTokensMapName, files.SpecialTokensMap);
        string family = config?.Optional("tokenizer_class") is { IsString: true } name ? name.AsString() : "";
        return new TokenizerSettings
        {
            SpecialTokens = ReadNames(map, config),
            AddedTokens = [.. ReadAddedTokens(config), .. ReadAddedTokensFile(files.AddedTokens)],
            AdditionalSpecialTokens = [.. ReadAdditional(map), .. ReadAdditional(config)],
            AddBos = config?.Optional("add_bos_token")?.AsBool(),
            AddEos = config?.Optional("add_eos_token")?.AsBool(),
            FlagsWin = FlagFamilies.Any(prefix => family.StartsWith(prefix + "Tokenizer", StringComparison.Ordinal)),
        };
    }

    /// <summary>The special tokens by name alone, for a chat template.</summary>
    public static IReadOnlyDictionary<string, string> ReadSpecialTokens(string folder) => ReadNames(
        Parse(TokenizerFiles.SpecialTokensMapName, TokenizerFiles.ReadFile(folder, TokenizerFiles.SpecialTokensMapName)),
        Parse(TokenizerFiles.ConfigName, TokenizerFiles.ReadFile(folder, TokenizerFiles.ConfigName)));

    private static JsonField? Parse(string name, byte[]? content) =>
        content is null ? null : JsonField.Parse(name, content);

    private static Dictionary<string, string> ReadNames(JsonField? map, JsonField? config)
    {
        var names = new Dictionary<string, string>();
        foreach (string name in TokenNames)
        {
            // A name that the configuration has, even as null, is the configuration's to say.
            bool configured = config is { IsObject: true } root && root.Element.TryGetProperty(name, out _);
            JsonField? field = configured ? config?.Optional(name) : map?.Optional(name);
            if (field is { } token)
                names[name] = ReadSpelling(token);
        }

        if (config?.Optional("extra_special_tokens") is { IsObject: true } extra)
        {
            foreach ((string name, JsonField token) in extra.Properties())
                names[name] = ReadSpelling(token);
        }

        return names;
    }

    private static string ReadSpelling(JsonField field) =>
        field.IsObject ? field.Required("content").AsString() : field.AsString();

    private static IEnumerable<string> ReadAdditional(JsonField? file) =>
        file?.Optional("additional_special_tokens")?.Items().Select(ReadSpelling) ?? [];

    private static IEnumerable<AddedToken> ReadAddedTokens(JsonField? config)
    {
        foreach ((string key, JsonField field) in config?.Optional("added_tokens_decoder")?.Properties() ?? [])
        {
            if (!int.TryParse(key, out int id) || id < 0 || id > TokenizerLimits.MaxTokenId)
                throw field.Refuse($"must have a whole number from 0 to {TokenizerLimits.MaxTokenId} as its key");
            yield return AddedToken.Read(field, id);
        }
    }

    private static IEnumerable<AddedToken> ReadAddedTokensFile(byte[]? content)
    {
        if (Parse(TokenizerFiles.AddedTokensName, content) is not { } file)
            yield break;
        foreach ((string spelling, JsonField id) in file.Properties())
        {
            if (spelling.Length == 0)
                throw id.Refuse("must not be the id of an empty token");
            yield return new AddedToken(id.AsInt(0, TokenizerLimits.MaxTokenId), spelling);
        }
    }
}
