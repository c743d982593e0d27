using System.Collections.Immutable;
using System.Security.Cryptography;
using Cluster.Contracts;
using Cluster.Grains.Text;
using Microsoft.Extensions.Options;
using Orleans.Serialization;

namespace Cluster.Grains.Sessions;

/// <summary>Turns a request into what a session accepts: checks it, tokenizes its prompts and fills in the defaults. One per silo.</summary>
internal sealed class RequestAdmission(ModelCatalog models, SeedSource seeds, IOptions<ClusterOptions> options, Serializer<GenerationRequest> serializer, TimeProvider time)
{
    /// <summary>Tells a repeated request from another one.</summary>
    public ImmutableArray<byte> Digest(GenerationRequest request) => [.. SHA256.HashData(serializer.SerializeToArray(request))];

    /// <summary>Accepts or refuses a request.</summary>
    /// <exception cref="RequestRejectedException">Names field, limit and actual value.</exception>
    public AcceptRecord Accept(string sessionId, GenerationRequest request)
    {
        ServedModel model = models.Get(request.Model);
        RequestRules.Check(request, model, options.Value.MaxQueuedRequests);
        ImmutableArray<PromptDescription> prompts = request.Kind == RequestKind.Chat
            ? [PromptEncoder.EncodeChat(request, model)]
            : [.. request.Prompts.Select(prompt => PromptEncoder.Encode(prompt, model, needsText: request.Presentation.Echo))];
        ImmutableArray<int> maxTokens =
            [.. prompts.Select(prompt => RequestRules.MaxTokens(prompt.TokenIds.Length, request.Stop, request.Kind, model))];
        return new AcceptRecord
        {
            SessionId = sessionId,
            Request = request with
            {
                Prompts = [],
                Messages = [],
                Template = new ChatTemplateInput(),
                Sampling = FillIn(request.Sampling, model.SamplingDefaults),
            },
            Prompts = prompts,
            MaxTokens = maxTokens,
            AcceptedAt = time.GetUtcNow().ToUnixTimeMilliseconds(),
            ModelFingerprint = model.Description.Fingerprint,
            RequestDigest = Digest(request),
        };
    }

    private SamplingOptions FillIn(SamplingOptions asked, SamplingOptions defaults) => asked with
    {
        Temperature = asked.Temperature ?? defaults.Temperature ?? 1,
        TopK = Math.Max(0, asked.TopK ?? defaults.TopK ?? 0),
        TopP = asked.TopP ?? defaults.TopP ?? 1,
        MinP = asked.MinP ?? defaults.MinP ?? 0,
        RepetitionPenalty = asked.RepetitionPenalty ?? defaults.RepetitionPenalty ?? 1,
        Seed = asked.Seed ?? seeds.Next(),
    };
}
