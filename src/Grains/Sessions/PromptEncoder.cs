using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Cluster.Contracts;
using Cluster.Grains.Text;

namespace Cluster.Grains.Sessions;

/// <summary>Prompts to token ids.</summary>
internal static class PromptEncoder
{
    /// <summary>A prompt of a completion.</summary>
    /// <param name="prompt">Text or token ids.</param>
    /// <param name="model">The model; text needs its tokenizer.</param>
    /// <param name="needsText">Spell token prompts too (echo).</param>
    public static PromptDescription Encode(Prompt prompt, ServedModel model, bool needsText)
    {
        if (prompt.Text is { } text)
            return new PromptDescription { TokenIds = Tokenize(text, "prompt", model, addSpecialTokens: true), Text = text };
        string spelled = needsText && model.Tokenizer is { } tokenizer
            ? tokenizer.Decode(prompt.TokenIds.AsSpan(), skipSpecialTokens: true)
            : "";
        return new PromptDescription { TokenIds = prompt.TokenIds, Text = spelled };
    }

    /// <summary>The prompt of a chat: its messages through the model's chat template.</summary>
    public static PromptDescription EncodeChat(GenerationRequest request, ServedModel model)
    {
        string text;
        try
        {
            text = model.ChatTemplate!.Render(request.Messages, request.Template);
        }
        catch (ChatTemplateException e)
        {
            throw RequestRules.Refuse("messages", $"messages do not fit the chat template: {e.Message.TrimEnd('.')}");
        }

        // The template writes the special tokens itself.
        return new PromptDescription { TokenIds = Tokenize(text, "messages", model, addSpecialTokens: false), Text = text };
    }

    private static ImmutableArray<int> Tokenize(string text, string field, ServedModel model, bool addSpecialTokens)
    {
        try
        {
            return ImmutableCollectionsMarshal.AsImmutableArray(model.Tokenizer!.Encode(text, addSpecialTokens));
        }
        catch (TokenizerFormatException e)
        {
            throw RequestRules.Refuse(field, $"{field} cannot be tokenized: {e.Message.TrimEnd('.')}");
        }
    }
}
