using System.Diagnostics;
using Cluster.Contracts;
using Cluster.Grains;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>The span of a generation, with the attributes of OpenTelemetry's GenAI conventions (v1.41).</summary>
internal static class GenerationSpan
{
    /// <summary>Starts the span when somebody listens.</summary>
    public static Activity? Start(GenerationRequest request, bool stream)
    {
        string operation = request.Kind == RequestKind.Chat ? "chat" : "text_completion";
        Activity? span = ClusterMetrics.Activities.StartActivity($"{operation} {request.Model}", ActivityKind.Server);
        if (span is null)
            return null;
        span.SetTag("gen_ai.operation.name", operation);
        span.SetTag("gen_ai.provider.name", "cluster");
        span.SetTag("gen_ai.request.model", request.Model);
        span.SetTag("gen_ai.request.choice.count", request.Choices);
        span.SetTag("gen_ai.request.stream", stream);
        span.SetTag("gen_ai.request.max_tokens", request.Stop.MaxTokens);
        span.SetTag("gen_ai.request.temperature", request.Sampling.Temperature);
        span.SetTag("gen_ai.request.top_p", request.Sampling.TopP);
        span.SetTag("gen_ai.request.top_k", request.Sampling.TopK);
        span.SetTag("gen_ai.request.frequency_penalty", request.Sampling.FrequencyPenalty);
        span.SetTag("gen_ai.request.presence_penalty", request.Sampling.PresencePenalty);
        span.SetTag("gen_ai.request.seed", request.Sampling.Seed);
        return span;
    }
}
