using System.Text.Json;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Sessions;
using Cluster.Grains.Text;
using Cluster.Grains.Text.Tokenization;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>Two models without weights: one serves token ids only, one spells every byte as a token.</summary>
internal static class TestModels
{
    public const string TokensOnly = "tokens-only";
    public const string Bytes = "bytes";
    public const string Chat = "chat";
    public const int Eos = 2;
    public const int Vocabulary = 300;
    public const int Context = 64;

    /// <summary>End of sequence of the byte model: a special token.</summary>
    public const int ByteEos = 256;

    public static ServedModel WithoutTokenizer { get; } = Model(TokensOnly, null, Eos);

    public static ServedModel WithTokenizer { get; } = Model(Bytes, ByteTokenizer(), ByteEos);

    /// <summary>The byte model with a chat template, which refuses the role "nobody".</summary>
    public static ServedModel WithTemplate { get; } = Model(Chat, ByteTokenizer(), ByteEos) with
    {
        ChatTemplate = ChatTemplate.Parse(
            "{% for m in messages %}{% if m.role == 'nobody' %}{{ raise_exception('who is nobody?') }}{% endif %}{{ m.role }}:{{ m.content }}<|turn|>{% endfor %}{% if add_generation_prompt %}a:{% endif %}",
            new Dictionary<string, string>(),
            TimeProvider.System),
    };

    public static AcceptRecord Accept(ServedModel model, GenerationRequest request, params int[][] prompts)
    {
        int[][] all = prompts.Length > 0 ? prompts : [[5, 6, 7]];
        return new AcceptRecord
        {
            SessionId = "unit",
            Request = request with { Model = model.Description.Name, Sampling = request.Sampling with { Seed = request.Sampling.Seed ?? 1 } },
            Prompts = [.. all.Select(prompt => new PromptDescription { TokenIds = [.. prompt] })],
            MaxTokens = [.. all.Select(prompt => RequestRules.MaxTokens(prompt.Length, request.Stop, request.Kind, model))],
            AcceptedAt = 1000,
            ModelFingerprint = model.Description.Fingerprint,
            RequestDigest = [],
        };
    }

    public static GenerationRequest Request(int? maxTokens = null, int choices = 1, params string[] stop) => new()
    {
        Model = TokensOnly,
        Prompts = [Prompt.FromTokens(5, 6, 7)],
        Choices = choices,
        Stop = new StopOptions { MaxTokens = maxTokens, Strings = [.. stop] },
    };

    private static ServedModel Model(string name, Tokenizer? tokenizer, int eos) => new()
    {
        Description = new ModelDescription
        {
            Name = name,
            Path = "/nowhere",
            Fingerprint = "fingerprint-of-" + name,
            MaxModelLength = Context,
            Architecture = "llama",
            HasTokenizer = tokenizer is not null,
        },
        VocabularySize = Vocabulary,
        EosTokens = [eos],
        SamplingDefaults = new SamplingOptions { Temperature = 0.7f, TopK = 20, TopP = 0.9f, MinP = 0, RepetitionPenalty = 1.1f },
        Tokenizer = tokenizer,
    };

    private static Tokenizer ByteTokenizer()
    {
        Dictionary<string, int> vocabulary = Enumerable.Range(0, 256).ToDictionary(value => ByteAlphabet.Spell((byte)value).ToString());
        object Added(int id, string content) => new
        {
            id, content, special = true, single_word = false, lstrip = false, rstrip = false, normalized = false,
        };
        var file = new
        {
            version = "1.0",
            added_tokens = new[] { Added(256, "<|end|>"), Added(257, "<|turn|>") },
            pre_tokenizer = new { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true },
            decoder = new { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true },
            model = new { type = "BPE", vocab = vocabulary, merges = Array.Empty<string>() },
        };
        return Tokenizer.Create(new TokenizerFiles { TokenizerJson = JsonSerializer.SerializeToUtf8Bytes(file) });
    }
}
