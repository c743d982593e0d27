using System.Text.Json;

namespace Cluster.Grains.Text;

/// <summary>What a chat template turns into a prompt.</summary>
internal sealed record ChatConversation
{
    /// <summary>The messages: a JSON array of objects, whose keys keep their order.</summary>
    public required JsonElement Messages { get; init; }

    /// <summary>The tools: a JSON array, or null for none.</summary>
    public JsonElement? Tools { get; init; }

    /// <summary>Ends the prompt with the beginning of the assistant's answer.</summary>
    public bool AddGenerationPrompt { get; init; }

    /// <summary>Leaves the last message open, for the model to continue it.</summary>
    public bool ContinueFinalMessage { get; init; }

    /// <summary>Further variables (<c>chat_template_kwargs</c>): a JSON object, or null. They win over all others.</summary>
    public JsonElement? Extra { get; init; }
}
