using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Microsoft.Extensions.AI;
using AiMessage = Microsoft.Extensions.AI.ChatMessage;

namespace Cluster.Client;

/// <summary>
/// An <see cref="IChatClient"/> of Microsoft.Extensions.AI over an <see cref="InferenceClient"/>. Of
/// <see cref="ChatOptions.AdditionalProperties"/> it takes vLLM's names: min_p, repetition_penalty, min_tokens, ignore_eos,
/// stop_token_ids, priority, logit_bias, logprobs, chat_template_kwargs, skip_special_tokens.
/// <see cref="ChatOptions.RawRepresentationFactory"/> may give a <see cref="GenerationRequest"/> to start from.
/// </summary>
/// <param name="client">The client; stays open when this is disposed.</param>
/// <param name="defaultModel">Model when <see cref="ChatOptions.ModelId"/> is not set; null = the only one there is.</param>
public sealed class ClusterChatClient(InferenceClient client, string? defaultModel = null) : IChatClient
{
    private readonly ChatClientMetadata _metadata = new("cluster", defaultModelId: defaultModel);

    /// <inheritdoc/>
    /// <exception cref="RequestRejectedException">The request is refused, or cannot be mapped (content that is not text).</exception>
    /// <exception cref="StreamInterruptedException">The cluster was lost for too long.</exception>
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<AiMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        GenerationRequest request = ChatRequestMapping.Map(messages, options, defaultModel, this);
        GenerationResult result = await client.GenerateAsync(request, cancellationToken).ConfigureAwait(false);
        return new ChatResponse([.. result.Choices.Select(choice => new AiMessage(ChatRole.Assistant, choice.Text) { MessageId = MessageId(result.SessionId, choice.Index), RawRepresentation = choice })])
        {
            ResponseId = result.SessionId,
            ModelId = result.Model,
            CreatedAt = result.Created,
            FinishReason = new ChatFinishReason(result.Choices[0].FinishReason),
            Usage = ToUsage(result.Usage),
            RawRepresentation = result,
        };
    }

    /// <inheritdoc/>
    /// <exception cref="RequestRejectedException">The request is refused, or cannot be mapped (content that is not text).</exception>
    /// <exception cref="StreamInterruptedException">The cluster was lost for too long: the answer is not complete.</exception>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<AiMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        GenerationRequest request = ChatRequestMapping.Map(messages, options, defaultModel, this);
        InferenceSession session = await client.StartAsync(request, cancellationToken).ConfigureAwait(false);
        bool finished = false;
        await foreach (SessionEvent sessionEvent in client.StreamAndReleaseAsync(session, cancellationToken).ConfigureAwait(false))
        {
            finished |= sessionEvent.Kind == SessionEventKind.Finish;
            if (ToUpdate(sessionEvent, session.Id, request.Model) is { } update)
                yield return update;
        }
        if (!finished)
            throw new InvalidDataException($"Session {session.Id} ended without a finish reason.");
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null)
            return null;
        if (serviceType == typeof(ChatClientMetadata))
            return _metadata;
        if (serviceType == typeof(InferenceClient))
            return client;
        return serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <summary>Does nothing: the <see cref="InferenceClient"/> is closed by whoever made it.</summary>
    public void Dispose()
    {
    }

    private static ChatResponseUpdate? ToUpdate(SessionEvent sessionEvent, string sessionId, string model)
    {
        var update = new ChatResponseUpdate
        {
            Role = ChatRole.Assistant,
            ResponseId = sessionId,
            MessageId = MessageId(sessionId, sessionEvent.Choice),
            ModelId = model.Length == 0 ? null : model,
            RawRepresentation = sessionEvent,
        };
        if (sessionEvent.Text.Length > 0)
            update.Contents.Add(new TextContent(sessionEvent.Text));
        if (sessionEvent.Kind == SessionEventKind.Finish)
            update.FinishReason = new ChatFinishReason(sessionEvent.FinishReason!);
        if (sessionEvent is { Kind: SessionEventKind.Usage, Usage: { } usage })
            update.Contents.Add(new UsageContent(ToUsage(usage)));
        // A token whose text is held back has nothing to say here.
        return update.Contents.Count > 0 || update.FinishReason is not null ? update : null;
    }

    private static string MessageId(string sessionId, int choice) => choice == 0 ? sessionId : $"{sessionId}-{choice}";

    private static UsageDetails ToUsage(TokenUsage usage) => new()
    {
        InputTokenCount = usage.PromptTokens,
        OutputTokenCount = usage.CompletionTokens,
        TotalTokenCount = usage.PromptTokens + usage.CompletionTokens,
        CachedInputTokenCount = usage.CachedTokens,
    };
}
