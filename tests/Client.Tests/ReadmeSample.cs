using System.Reflection;
using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Microsoft.Extensions.AI;

namespace Cluster.Client.Tests;

/// <summary>The README's C# compiles, runs, and is the code below.</summary>
public sealed class ReadmeSample
{
    [Fact]
    public async Task Chat_Runs()
    {
        await using FakeEdge edge = await FakeEdge.StartAsync();
        var console = new StringWriter();
        await ChatAsync(edge.Url, FakeEdge.ModelName, console);
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 ", console.ToString());
    }

    [Fact]
    public async Task Stream_Runs()
    {
        await using FakeEdge edge = await FakeEdge.StartAsync();
        var console = new StringWriter();
        await StreamAsync(edge.Url, FakeEdge.ModelName, console);
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 ", console.ToString());
    }

    [Fact]
    public void Readme_HasTheChatBelow()
    {
        string root = typeof(ReadmeSample).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(attribute => attribute.Key == "RepositoryRoot").Value!;
        string readme = File.ReadAllText(Path.Combine(root, "README.md"));
        string[] lines = [.. File.ReadLines(ThisFile()).SkipWhile(line => !line.EndsWith("// README: begin", StringComparison.Ordinal)).Skip(1)
            .TakeWhile(line => !line.EndsWith("// README: end", StringComparison.Ordinal)).Select(line => line.Trim())];
        Assert.Equal(4, lines.Length);
        foreach (string line in lines)
            Assert.Contains(line.Replace("= url", "= \"http://127.0.0.1:8000\"", StringComparison.Ordinal).Replace("client, model", "client, \"cluster-demo\"", StringComparison.Ordinal), readme, StringComparison.Ordinal);
    }

    private static async Task ChatAsync(string url, string model, TextWriter Console)
    {
        // README: begin
        await using InferenceClient client = await InferenceClient.ConnectAsync(new InferenceClientOptions { Url = url });
        IChatClient chat = new ClusterChatClient(client, model);
        await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync("How many apples are 2 apples and 3 apples?"))
            Console.Write(update.Text);
        // README: end
    }

    private static async Task StreamAsync(string url, string model, TextWriter Console)
    {
        await using InferenceClient client = await InferenceClient.ConnectAsync(new InferenceClientOptions { Url = url });
        var request = new GenerationRequest { Model = model, Prompts = [Prompt.FromText("Once upon a time")], Stop = new() { MaxTokens = 64 } };
        InferenceSession session = await client.StartAsync(request);
        long last = -1;
        await foreach (SessionEvent token in session.StreamAsync())
        {
            Console.Write(token.Text);
            last = token.SequenceNumber;
            if (last == 1)
                break;                                                          // the connection is lost, or this process dies:
        }
        await foreach (SessionEvent token in client.ResumeAsync(session.Id, last))  // any client with the same key goes on
            Console.Write(token.Text);
    }

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
