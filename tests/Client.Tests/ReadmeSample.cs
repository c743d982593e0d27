using Cluster.Client;
using Cluster.Contracts;
using Microsoft.Extensions.AI;

namespace Cluster.Client.Tests;

/// <summary>The snippet of the README, compiled and run.</summary>
public sealed class ReadmeSample
{
    [Fact]
    public async Task Snippet_Runs()
    {
        await using FakeEdge edge = await FakeEdge.StartAsync();
        TextWriter console = new StringWriter();
        await RunAsync(edge.Url, console);
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 c0t0 c0t1 c0t2 c0t3 ", console.ToString());
    }

    private static async Task RunAsync(Uri url, TextWriter console)
    {
        // README: begin
        await using var client = await InferenceClient.ConnectAsync(new() { Url = url });

        var request = new GenerationRequest { Model = "", Prompts = [Prompt.FromText("Once upon a time")], Stop = new() { MaxTokens = 64 } };
        await foreach (SessionEvent token in client.StreamAsync(request))     // survives a lost connection or silo, each token once
            console.Write(token.Text);

        IChatClient chat = client.AsChatClient();                             // Microsoft.Extensions.AI
        ChatResponse answer = await chat.GetResponseAsync("What is an actor?");
        console.Write(answer.Text);
        // README: end
    }
}
