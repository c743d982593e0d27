using System.Text;
using System.Text.Json.Nodes;
using Cluster.Grains.Text;
using Cluster.Grains.Text.Tokenization;

namespace Cluster.Grains.Tests.Text;

/// <summary>A small tokenizer.json that tests change as they like.</summary>
internal static class TinyTokenizer
{
    /// <summary>Byte-level BPE over a few letters, with one special token.</summary>
    public static JsonObject ByteLevel() => (JsonObject)JsonNode.Parse("""
        {
          "version": "1.0",
          "added_tokens": [{"id": 7, "content": "<e>", "special": true}],
          "normalizer": null,
          "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
          "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<e>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<e>": {"id": "<e>", "ids": [7], "tokens": ["<e>"]}}},
          "decoder": {"type": "ByteLevel"},
          "model": {"type": "BPE", "unk_token": null, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "ab": 4, "Ġab": 5, "abc": 6}, "merges": ["a b", "Ġ ab", "ab c"]}
        }
        """)!;

    /// <summary>SentencePiece style over a few letters.</summary>
    public static JsonObject Marked() => (JsonObject)JsonNode.Parse("""
        {
          "added_tokens": [{"id": 0, "content": "<unk>", "special": true}],
          "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
          "pre_tokenizer": null,
          "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
          "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": false,
            "vocab": {"<unk>": 0, "▁": 1, "a": 2, "b": 3, "▁a": 4, "ab": 5}, "merges": [["▁", "a"], ["a", "b"]]}
        }
        """)!;

    public static Tokenizer Create(JsonNode json, string? config = null) => Create(json.ToJsonString(), config);

    public static Tokenizer Create(string json, string? config = null) => Tokenizer.Create(new TokenizerFiles
    {
        TokenizerJson = Encoding.UTF8.GetBytes(json),
        Config = config is null ? null : Encoding.UTF8.GetBytes(config),
    });
}
