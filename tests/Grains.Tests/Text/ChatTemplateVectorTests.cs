using System.Text.Json;
using Cluster.Grains.Text;
using Cluster.TestKit;
using Microsoft.Extensions.Time.Testing;

namespace Cluster.Grains.Tests.Text;

/// <summary>Every reference case of the nine chat templates (216).</summary>
public class ChatTemplateVectorTests
{
    private const int CaseCount = 216;

    public static TheoryData<string> Templates =>
        ["llama-3.1", "llama-3", "qwen2.5", "chatml", "mistral-7b-v0.2", "mixtral-8x7b", "gemma-2", "zephyr", "phi-3.5"];

    [Theory]
    [MemberData(nameof(Templates))]
    public void Render_GivesTheReferencePrompt(string name)
    {
        JsonElement suite = Suite();
        ChatTemplate template = Template(suite, name);
        var wrong = new List<string>();
        int count = 0;
        foreach (JsonElement entry in suite.GetProperty("cases").EnumerateArray())
        {
            if (entry.GetProperty("template").GetString() != name)
                continue;
            count++;
            if (Check(template, suite, entry) is { } problem)
                wrong.Add(problem);
        }

        Assert.Equal(CaseCount / Templates.Count, count);
        Assert.Empty(wrong);
    }

    [Fact]
    public void CaseCount_IsWhatTheSuiteClaims() =>
        Assert.Equal(CaseCount, Suite().GetProperty("cases").GetArrayLength());

    private static string? Check(ChatTemplate template, JsonElement suite, JsonElement entry)
    {
        string id = entry.GetProperty("conversation").GetString()!;
        ChatConversation conversation = Conversation(
            suite.GetProperty("conversations").GetProperty(id), entry.GetProperty("add_generation_prompt").GetBoolean());
        try
        {
            string prompt = template.Render(conversation);
            if (entry.TryGetProperty("error", out JsonElement missed))
            {
                // Where Python itself fails on a type, an engine may render something.
                return missed.GetProperty("strict").GetBoolean() ? $"{id}: rendered, but must fail" : null;
            }

            string expected = entry.GetProperty("expected").GetString()!;
            return prompt == expected ? null : $"{id}: {JsonSerializer.Serialize(prompt)}, not {JsonSerializer.Serialize(expected)}";
        }
        catch (ChatTemplateException exception)
        {
            if (!entry.TryGetProperty("error", out JsonElement error))
                return $"{id}: {exception.Message}";
            bool isRaised = error.GetProperty("strict").GetBoolean();
            return isRaised && (exception.Failure != ChatTemplateFailure.Raised
                || exception.Message != error.GetProperty("message").GetString()) ? $"{id}: {exception.Message}" : null;
        }
    }

    private static JsonElement Suite()
    {
        Assert.SkipUnless(SharedData.IsPresent, SharedData.MissingReason);
        return JsonDocument.Parse(File.ReadAllBytes(SharedData.Conformance("chat_templates", "cases.json"))).RootElement;
    }

    private static ChatTemplate Template(JsonElement suite, string name)
    {
        JsonElement entry = suite.GetProperty("templates").EnumerateArray()
            .Single(template => template.GetProperty("name").GetString() == name);
        var specialTokens = entry.GetProperty("special_tokens").EnumerateObject()
            .ToDictionary(token => token.Name, token => token.Value.GetString()!);
        string source = File.ReadAllText(SharedData.Conformance("chat_templates", entry.GetProperty("file").GetString()!));
        var now = new FakeTimeProvider(DateTimeOffset.Parse(suite.GetProperty("now").GetString()! + "Z",
            System.Globalization.CultureInfo.InvariantCulture));
        return ChatTemplate.Parse(source, specialTokens, now);
    }

    private static ChatConversation Conversation(JsonElement entry, bool addGenerationPrompt) => new()
    {
        Messages = entry.GetProperty("messages"),
        Tools = entry.TryGetProperty("tools", out JsonElement tools) ? tools : null,
        Extra = entry.TryGetProperty("extra", out JsonElement extra) ? extra : null,
        AddGenerationPrompt = addGenerationPrompt,
    };
}
