using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace Cluster.TestKit.Processes;

/// <summary>Reads a stream as any OpenAI client would, event by event.</summary>
public static class ServerSentEvents
{
    /// <summary>The literal that ends a stream.</summary>
    public const string Done = "[DONE]";

    /// <summary>Posts a request with stream on and yields the payload of every event, [DONE] included.</summary>
    public static async IAsyncEnumerable<string> PostAsync(HttpClient http, string path, JsonObject request)
    {
        request["stream"] = true;
        using var message = new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(request) };
        await foreach (string payload in SendAsync(http, message))
            yield return payload;
    }

    /// <summary>Attaches to a session and yields the payload of every event after <paramref name="startingAfter"/>.</summary>
    public static async IAsyncEnumerable<string> ResumeAsync(HttpClient http, string path, long? startingAfter)
    {
        string query = startingAfter is null ? "?stream=true" : $"?stream=true&starting_after={startingAfter}";
        using var message = new HttpRequestMessage(HttpMethod.Get, path + query);
        await foreach (string payload in SendAsync(http, message))
            yield return payload;
    }

    private static async IAsyncEnumerable<string> SendAsync(HttpClient http, HttpRequestMessage message)
    {
        using HttpResponseMessage response = await http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        if (!response.IsSuccessStatusCode)
            throw new HttpRequestException($"{(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}", null, response.StatusCode);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        while (await reader.ReadLineAsync() is { } line)
        {
            if (line.StartsWith("data: ", StringComparison.Ordinal))
                yield return line["data: ".Length..];
        }
    }
}
