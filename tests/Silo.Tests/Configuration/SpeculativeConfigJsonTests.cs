using Cluster.Contracts;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Tests.Configuration;

public sealed class SpeculativeConfigJsonTests
{
    [Fact]
    public void Parse_ReadsVllmsKeys() => Assert.Equal(
        new SpeculativeConfig { Method = "ngram", NumSpeculativeTokens = 5, PromptLookupMax = 4, PromptLookupMin = 3 },
        SpeculativeConfigJson.Parse("""{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 4, "prompt_lookup_min": 3}"""));

    [Fact]
    public void Parse_FillsTheRestIn() => Assert.Equal(
        new SpeculativeConfig { Method = "ngram", NumSpeculativeTokens = 5, PromptLookupMax = 1, PromptLookupMin = 1 },
        SpeculativeConfigJson.Parse("""{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 1}"""));

    [Theory]
    [InlineData("ngram", "is not JSON")]
    [InlineData("[1]", "must be a JSON object, got Array")]
    [InlineData("{}", "method: must be one of ngram, draft_model")]
    [InlineData("""{"method": "medusa"}""", "method: must be one of ngram, draft_model, got 'medusa'")]
    [InlineData("""{"method": "ngram"}""", "num_speculative_tokens: must be 1..32, got nothing")]
    [InlineData("""{"method": "ngram", "num_speculative_tokens": 33}""", "num_speculative_tokens: must be 1..32, got 33")]
    [InlineData("""{"method": "ngram", "num_speculative_tokens": "5"}""", "num_speculative_tokens: must be 1..32, got \"5\"")]
    [InlineData("""{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 2, "prompt_lookup_min": 3}""", "prompt_lookup_min: must be 1..2, got 3")]
    [InlineData("""{"method": "ngram", "num_speculative_tokens": 5, "adaptive": 1}""", "adaptive: must be true or false, got 1")]
    [InlineData("""{"method": "draft_model", "num_speculative_tokens": 5}""", "model: must be a text")]
    [InlineData("""{"method": "draft_model", "num_speculative_tokens": 5, "model": "d", "prompt_lookup_min": 2}""", "'prompt_lookup_min' is not a key of method 'draft_model'")]
    [InlineData("""{"method": "ngram", "num_speculative_tokens": 5, "tokens": 3}""", "'tokens' is not a key of method 'ngram'")]
    public void Check_NamesTheKeyAndItsLimits(string json, string expected) => Assert.StartsWith(expected, SpeculativeConfigJson.Check(json), StringComparison.Ordinal);

    [Fact]
    public void Check_FindsNothingWrong() => Assert.Null(SpeculativeConfigJson.Check("""{"method": "ngram", "num_speculative_tokens": 5}"""));
}
