using System.ClientModel;
using System.ClientModel.Primitives;
using Cluster.TestKit.Processes;
using Microsoft.Extensions.AI;
using OpenAI;
using OpenAI.Chat;
using ChatFinishReason = OpenAI.Chat.ChatFinishReason;
using ChatMessage = OpenAI.Chat.ChatMessage;

namespace Cluster.EndToEnd.Tests.OpenAIClients;

/// <summary>One silo with the bundled model.</summary>
public sealed class BundledSilo : IAsyncLifetime
{
    private SiloProcess? _silo;

    /// <summary>The silo.</summary>
    internal SiloProcess Silo => _silo!;

    /// <inheritdoc/>
    public async ValueTask InitializeAsync() => _silo = await Silos.LaunchAsync("--max-num-seqs", "4", "--max-queued-requests", "4");

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _silo?.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>The official .NET client and Microsoft.Extensions.AI on top of it, against a real silo.</summary>
public sealed class DotNetClientTests(BundledSilo host) : IClassFixture<BundledSilo>
{
    private const string Model = "cluster-demo";

    private static readonly ChatMessage[] Messages = [ChatMessage.CreateUserMessage("How many apples are 2 apples and 3 apples?")];
    private static readonly ChatCompletionOptions Greedy = new() { Temperature = 0, MaxOutputTokenCount = 24 };

    [Fact]
    public async Task Chat_AndStream_GiveTheSameText()
    {
        ChatClient client = Client();
        ChatCompletion whole = await client.CompleteChatAsync(Messages, Greedy, TestContext.Current.CancellationToken);
        string streamed = "";
        ChatFinishReason? finish = null;
        int? tokens = null;
        await foreach (StreamingChatCompletionUpdate update in client.CompleteChatStreamingAsync(Messages, Greedy, TestContext.Current.CancellationToken))
        {
            streamed += string.Concat(update.ContentUpdate.Select(part => part.Text));
            finish = update.FinishReason ?? finish;
            tokens = update.Usage?.OutputTokenCount ?? tokens;
        }
        Assert.Equal(whole.Content.Count == 0 ? "" : whole.Content[0].Text, streamed);
        Assert.Equal(whole.FinishReason, finish);
        Assert.Equal(whole.Usage.OutputTokenCount, tokens);
        Assert.InRange(whole.Usage.OutputTokenCount, 1, 24);
    }

    [Fact]
    public async Task Logprobs_AreThere()
    {
        ChatCompletion answer = await Client().CompleteChatAsync(
            Messages, new ChatCompletionOptions { Temperature = 0, MaxOutputTokenCount = 5, IncludeLogProbabilities = true, TopLogProbabilityCount = 3 }, TestContext.Current.CancellationToken);
        Assert.NotEmpty(answer.ContentTokenLogProbabilities);
        Assert.All(answer.ContentTokenLogProbabilities, entry =>
        {
            Assert.Equal(3, entry.TopLogProbabilities.Count);
            Assert.Equal(entry.TopLogProbabilities[0].LogProbability, entry.LogProbability);
        });
    }

    [Fact]
    public async Task Errors_ReachTheCallerWithStatusAndMessage()
    {
        ClientResultException unknown = await Assert.ThrowsAsync<ClientResultException>(async () => await Client("nope").CompleteChatAsync(Messages));
        Assert.Equal(404, unknown.Status);
        Assert.Contains("model_not_found", unknown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Overload_IsRetriedUntilThereIsRoom()
    {
        ChatClient client = Client();
        var longer = new ChatCompletionOptions { Temperature = 0, MaxOutputTokenCount = 40 };
        ClientResult<ChatCompletion>[] answers = await Task.WhenAll(Enumerable.Range(0, 24).Select(_ => client.CompleteChatAsync(Messages, longer)));
        Assert.All(answers, answer => Assert.Equal(answers[0].Value.Content[0].Text, answer.Value.Content[0].Text));
    }

    [Fact]
    public async Task Cancel_EndsTheStream()
    {
        using var cancel = new CancellationTokenSource();
        int updates = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (StreamingChatCompletionUpdate _ in Client().CompleteChatStreamingAsync(Messages, new ChatCompletionOptions { MaxOutputTokenCount = 900 }, cancel.Token))
            {
                if (++updates == 3)
                    await cancel.CancelAsync();
            }
        });
        Assert.Equal(3, updates);
    }

    [Fact]
    public async Task AStreamWhoseSiloDies_IsAnErrorAndNotAnEnd()
    {
        using SiloProcess silo = await Silos.LaunchAsync();
        int updates = 0;
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            await foreach (StreamingChatCompletionUpdate _ in Client(url: silo.Url).CompleteChatStreamingAsync(Messages, new ChatCompletionOptions { MaxOutputTokenCount = 900, Temperature = 1 }))
            {
                if (++updates == 2)
                    silo.Kill();
            }
        });
        Assert.True(updates >= 2);
    }

    [Fact]
    public async Task MicrosoftExtensionsAI_WorksOnTop()
    {
        using IChatClient chat = Client().AsIChatClient();
        ChatResponse whole = await chat.GetResponseAsync("How many apples are 2 apples and 3 apples?", new ChatOptions { Temperature = 0, MaxOutputTokens = 24 }, TestContext.Current.CancellationToken);
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync("How many apples are 2 apples and 3 apples?", new ChatOptions { Temperature = 0, MaxOutputTokens = 24 }, TestContext.Current.CancellationToken))
            updates.Add(update);
        Assert.Equal(whole.Text, updates.ToChatResponse().Text);
        Assert.Equal(whole.Usage!.OutputTokenCount, updates.ToChatResponse().Usage!.OutputTokenCount);
    }

    private ChatClient Client(string model = Model, string? url = null) => new(
        model,
        new ApiKeyCredential("none"),
        new OpenAIClientOptions { Endpoint = new Uri($"{url ?? host.Silo.Url}/v1"), RetryPolicy = new ClientRetryPolicy(maxRetries: 20) });
}
