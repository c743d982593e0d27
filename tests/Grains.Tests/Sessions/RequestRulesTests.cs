using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Sessions;

namespace Cluster.Grains.Tests.Sessions;

public sealed class RequestRulesTests
{
    private const int MaxSequences = 256;

    public static TheoryData<string, string, string, string> Violations() => new()
    {
        // case, field, limit, actual value
        { "temperature=-0.5", "temperature", "between 0 and 2", "-0.5" },
        { "temperature=2.5", "temperature", "between 0 and 2", "2.5" },
        { "temperature=NaN", "temperature", "between 0 and 2", "NaN" },
        { "temperature=inf", "temperature", "between 0 and 2", "Infinity" },
        { "top_p=0", "top_p", "above 0 and at most 1", "0" },
        { "top_p=1.1", "top_p", "above 0 and at most 1", "1.1" },
        { "top_p=NaN", "top_p", "above 0 and at most 1", "NaN" },
        { "top_k=-2", "top_k", "at least -1", "-2" },
        { "min_p=1.5", "min_p", "between 0 and 1", "1.5" },
        { "min_p=NaN", "min_p", "between 0 and 1", "NaN" },
        { "repetition_penalty=0", "repetition_penalty", "above 0 and at most 2", "0" },
        { "repetition_penalty=3", "repetition_penalty", "above 0 and at most 2", "3" },
        { "frequency_penalty=-3", "frequency_penalty", "between -2 and 2", "-3" },
        { "frequency_penalty=NaN", "frequency_penalty", "between -2 and 2", "NaN" },
        { "presence_penalty=2.1", "presence_penalty", "between -2 and 2", "2.1" },
        { "logit_bias=token", "logit_bias", "from 0 to 299", "300" },
        { "logit_bias=value", "logit_bias", "between -100 and 100", "101" },
        { "n=0", "n", "between 1 and 128", "0" },
        { "n=129", "n", "between 1 and 128", "129" },
        { "logprobs=6", "logprobs", "between 0 and 5", "6" },
        { "logprobs=-1", "logprobs", "between 0 and 5", "-1" },
        { "prompt_logprobs=6", "prompt_logprobs", "between 0 and 5", "6" },
        { "top_logprobs=21", "top_logprobs", "between 0 and 20", "21" },
        { "max_tokens=0", "max_tokens", "at least 1", "0" },
        { "min_tokens=-1", "min_tokens", "at least 0", "-1" },
        { "stop=17", "stop", "at most 16 strings", "17" },
        { "stop=empty", "stop", "1 to 4096 characters", "0" },
        { "stop=long", "stop", "1 to 4096 characters", "5000" },
        { "stop=no tokenizer", "stop", "need a tokenizer", "tokens-only" },
        { "stop_token_ids=300", "stop_token_ids", "from 0 to 299", "300" },
        { "prompts=0", "prompt", "at least 1 prompt", "0" },
        { "prompt=no tokens", "prompt", "at least 1 token", "0" },
        { "prompt=token 300", "prompt", "from 0 to 299", "300" },
        { "prompt=token -1", "prompt", "from 0 to 299", "-1" },
        { "prompt=text", "prompt", "must be token ids", "tokens-only" },
        { "prompt=empty text", "prompt", "at least 1 character", "0" },
        { "prompts times n", "prompt", "at most 256", "384" },
        { "messages=0", "messages", "at least 1 message", "0" },
        { "messages=no tokenizer", "messages", "need a tokenizer", "tokens-only" },
        { "messages=no template", "messages", "need a chat template", "bytes" },
        { "kind=7", "kind", "Completion or Chat", "7" },
    };

    [Theory]
    [MemberData(nameof(Violations))]
    public void EveryLimit_IsNamedWithFieldLimitAndValue(string violation, string field, string limit, string actual)
    {
        (GenerationRequest request, ServedModel model) = Break(violation);
        RequestRejectedException refused = Assert.Throws<RequestRejectedException>(() => RequestRules.Check(request, model, MaxSequences));
        Assert.Equal(RejectionReason.InvalidRequest, refused.Reason);
        Assert.Equal(field, refused.Parameter);
        Assert.Contains(field, refused.Message);
        Assert.Contains(limit, refused.Message);
        Assert.Contains(actual, refused.Message);
    }

    [Fact]
    public void LimitsThemselves_AreAllowed()
    {
        GenerationRequest request = TestModels.Request(choices: 128) with
        {
            Sampling = new SamplingOptions
            {
                Temperature = 2,
                TopP = 1,
                TopK = -1,
                MinP = 1,
                RepetitionPenalty = 2,
                FrequencyPenalty = -2,
                PresencePenalty = 2,
                LogitBias = ImmutableDictionary<int, float>.Empty.Add(0, -100).Add(299, 100),
            },
            Logprobs = 5,
            PromptLogprobs = 5,
        };
        RequestRules.Check(request, TestModels.WithoutTokenizer, MaxSequences);
    }

    [Theory]
    [InlineData(0, null, 0, RejectionReason.InvalidRequest, "prompt", "0")]
    [InlineData(64, null, 0, RejectionReason.ContextLengthExceeded, "prompt", "64")]
    [InlineData(60, 5, 0, RejectionReason.ContextLengthExceeded, "max_tokens", "at most 4")]
    [InlineData(10, 5, 6, RejectionReason.InvalidRequest, "min_tokens", "max_tokens (5)")]
    [InlineData(10, null, 17, RejectionReason.InvalidRequest, "min_tokens", "max_tokens (16)")]
    public void Lengths_AreChecked(int prompt, int? maxTokens, int minTokens, RejectionReason reason, string field, string text)
    {
        var stop = new StopOptions { MaxTokens = maxTokens, MinTokens = minTokens };
        RequestRejectedException refused = Assert.Throws<RequestRejectedException>(
            () => RequestRules.MaxTokens(prompt, stop, RequestKind.Completion, TestModels.WithoutTokenizer));
        Assert.Equal((reason, field), (refused.Reason, refused.Parameter));
        Assert.Contains(text, refused.Message);
    }

    [Theory]
    [InlineData(RequestKind.Completion, 10, null, 16)]
    [InlineData(RequestKind.Completion, 60, null, 4)]
    [InlineData(RequestKind.Completion, 10, 54, 54)]
    [InlineData(RequestKind.Chat, 10, null, 54)]
    [InlineData(RequestKind.Chat, 10, 7, 7)]
    public void MaxTokens_HasTheKindsDefault(RequestKind kind, int prompt, int? maxTokens, int expected) => Assert.Equal(
        expected, RequestRules.MaxTokens(prompt, new StopOptions { MaxTokens = maxTokens }, kind, TestModels.WithoutTokenizer));

    private static (GenerationRequest Request, ServedModel Model) Break(string violation)
    {
        GenerationRequest good = TestModels.Request();
        ServedModel tokens = TestModels.WithoutTokenizer, bytes = TestModels.WithTokenizer;
        GenerationRequest Sampled(SamplingOptions sampling) => good with { Sampling = sampling };
        GenerationRequest Stopped(StopOptions stop) => good with { Stop = stop };
        GenerationRequest Chat(params string[] messages) => good with
        {
            Kind = RequestKind.Chat, Prompts = [], Messages = [.. messages.Select(text => new ChatMessage { Role = "user", Content = text })],
        };
        return violation switch
        {
            "temperature=-0.5" => (Sampled(new() { Temperature = -0.5f }), tokens),
            "temperature=2.5" => (Sampled(new() { Temperature = 2.5f }), tokens),
            "temperature=NaN" => (Sampled(new() { Temperature = float.NaN }), tokens),
            "temperature=inf" => (Sampled(new() { Temperature = float.PositiveInfinity }), tokens),
            "top_p=0" => (Sampled(new() { TopP = 0 }), tokens),
            "top_p=1.1" => (Sampled(new() { TopP = 1.1f }), tokens),
            "top_p=NaN" => (Sampled(new() { TopP = float.NaN }), tokens),
            "top_k=-2" => (Sampled(new() { TopK = -2 }), tokens),
            "min_p=1.5" => (Sampled(new() { MinP = 1.5f }), tokens),
            "min_p=NaN" => (Sampled(new() { MinP = float.NaN }), tokens),
            "repetition_penalty=0" => (Sampled(new() { RepetitionPenalty = 0 }), tokens),
            "repetition_penalty=3" => (Sampled(new() { RepetitionPenalty = 3 }), tokens),
            "frequency_penalty=-3" => (Sampled(new() { FrequencyPenalty = -3 }), tokens),
            "frequency_penalty=NaN" => (Sampled(new() { FrequencyPenalty = float.NaN }), tokens),
            "presence_penalty=2.1" => (Sampled(new() { PresencePenalty = 2.1f }), tokens),
            "logit_bias=token" => (Sampled(new() { LogitBias = ImmutableDictionary<int, float>.Empty.Add(300, 1) }), tokens),
            "logit_bias=value" => (Sampled(new() { LogitBias = ImmutableDictionary<int, float>.Empty.Add(3, 101) }), tokens),
            "n=0" => (good with { Choices = 0 }, tokens),
            "n=129" => (good with { Choices = 129 }, tokens),
            "logprobs=6" => (good with { Logprobs = 6 }, tokens),
            "logprobs=-1" => (good with { Logprobs = -1 }, tokens),
            "prompt_logprobs=6" => (good with { PromptLogprobs = 6 }, tokens),
            "top_logprobs=21" => (Chat("hi") with { Logprobs = 21 }, bytes),
            "max_tokens=0" => (Stopped(new() { MaxTokens = 0 }), tokens),
            "min_tokens=-1" => (Stopped(new() { MinTokens = -1 }), tokens),
            "stop=17" => (Stopped(new() { Strings = [.. Enumerable.Repeat("x", 17)] }), bytes),
            "stop=empty" => (Stopped(new() { Strings = [""] }), bytes),
            "stop=long" => (Stopped(new() { Strings = [new string('x', 5000)] }), bytes),
            "stop=no tokenizer" => (Stopped(new() { Strings = ["x"] }), tokens),
            "stop_token_ids=300" => (Stopped(new() { TokenIds = [1, 300] }), tokens),
            "prompts=0" => (good with { Prompts = [] }, tokens),
            "prompt=no tokens" => (good with { Prompts = [new Prompt()] }, tokens),
            "prompt=token 300" => (good with { Prompts = [Prompt.FromTokens(1, 300)] }, tokens),
            "prompt=token -1" => (good with { Prompts = [Prompt.FromTokens(-1)] }, tokens),
            "prompt=text" => (good with { Prompts = [Prompt.FromText("hello")] }, tokens),
            "prompt=empty text" => (good with { Prompts = [Prompt.FromText("")] }, bytes),
            "prompts times n" => (good with { Prompts = [.. Enumerable.Repeat(Prompt.FromTokens(1), 3)], Choices = 128 }, tokens),
            "messages=0" => (Chat(), bytes),
            "messages=no tokenizer" => (Chat("hi"), tokens),
            "messages=no template" => (Chat("hi"), bytes),
            "kind=7" => (good with { Kind = (RequestKind)7 }, tokens),
            _ => throw new ArgumentException(violation),
        };
    }
}
