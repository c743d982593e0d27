using System.Collections.Immutable;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Silo.Gateway;
using Cluster.Silo.Gateway.Endpoints;
using Cluster.Silo.Gateway.Metrics;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cluster.Silo.Tests.Gateway;

/// <summary>The gateway on a real socket, over scripted sessions.</summary>
internal sealed class GatewayFixture : IAsyncDisposable
{
    private readonly WebApplication _application;

    private GatewayFixture(WebApplication application, ScriptedSessions sessions, LogLines log)
    {
        _application = application;
        Sessions = sessions;
        Log = log;
        string url = application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        Http = new HttpClient { BaseAddress = new Uri(url), Timeout = TimeSpan.FromSeconds(30) };
    }

    public ScriptedSessions Sessions { get; }

    public HttpClient Http { get; }

    public LogLines Log { get; }

    public T Get<T>()
        where T : notnull => _application.Services.GetRequiredService<T>();

    public static async Task<GatewayFixture> StartAsync(string[]? keys = null, long maxBody = 1 << 20, bool serving = true, double modelWait = 5, double pingInterval = 15)
    {
        var sessions = new ScriptedSessions();
        var log = new LogLines();
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Listen(System.Net.IPAddress.Loopback, 0);
        });
        builder.Logging.AddProvider(log);
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton<ISessionAccess>(sessions);
        builder.Services.AddSingleton<IReadiness, FixedReadiness>();
        builder.Services.AddSingleton<FixedReadiness>(provider => (FixedReadiness)provider.GetRequiredService<IReadiness>());
        builder.Services.AddSingleton<ClusterMetrics>();
        builder.Services.AddSingleton(Catalog());
        builder.Services.AddGateway(new GatewaySettings(maxBody, TimeSpan.FromSeconds(modelWait), TimeSpan.FromSeconds(pingInterval)), keys ?? []);
        WebApplication application = builder.Build();
        application.MapGateway();
        if (serving)
            application.Services.GetRequiredService<ServingGate>().Open();
        await application.StartAsync();
        return new GatewayFixture(application, sessions, log);
    }

    public Task<HttpResponseMessage> PostAsync(string path, string body) =>
        Http.PostAsync(path, new StringContent(body, Encoding.UTF8, "application/json"));

    public async Task<JsonNode> PostJsonAsync(string path, string body)
    {
        using HttpResponseMessage response = await PostAsync(path, body);
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonNode.Parse(text)!;
    }

    public async Task<JsonNode> GetJsonAsync(string path) => JsonNode.Parse(await Http.GetStringAsync(path))!;

    /// <summary>Checks that an answer is an error object with exactly the four members, and returns it.</summary>
    public static async Task<JsonObject> ErrorOf(HttpResponseMessage response, int status)
    {
        string text = await response.Content.ReadAsStringAsync();
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode}: {text}");
        Assert.Equal("application/json", response.Content.Headers.ContentType!.MediaType);
        JsonObject root = JsonNode.Parse(text)!.AsObject();
        Assert.Equal(["error"], root.Select(member => member.Key));
        JsonObject error = root["error"]!.AsObject();
        Assert.Equal(["message", "type", "param", "code"], error.Select(member => member.Key));
        Assert.DoesNotContain("System.", text, StringComparison.Ordinal);
        Assert.DoesNotContain("Exception", text, StringComparison.Ordinal);
        Assert.True(response.Headers.Contains("x-request-id"));
        return error;
    }

    public void Authorize(string? key) =>
        Http.DefaultRequestHeaders.Authorization = key is null ? null : new AuthenticationHeaderValue("Bearer", key);

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _application.DisposeAsync();
    }

    private static ModelCatalog Catalog()
    {
        var catalog = new ModelCatalog();
        catalog.Add(new ServedModel
        {
            Description = new ModelDescription
            {
                Name = "m", Path = "/models/m", Fingerprint = "f", MaxModelLength = 512, Architecture = "llama", Created = 1_700_000_000,
            },
            VocabularySize = 1000,
            EosTokens = [2],
            SamplingDefaults = new SamplingOptions(),
        });
        return catalog;
    }
}

/// <summary>Readiness as the test sets it.</summary>
internal sealed class FixedReadiness : IReadiness
{
    public string? Reason { get; set; }

    public string? WhyNot() => Reason;
}

/// <summary>Log lines, for assertions.</summary>
internal sealed class LogLines : ILoggerProvider, ILogger
{
    private readonly System.Collections.Concurrent.ConcurrentQueue<string> _lines = new();

    public IReadOnlyCollection<string> Lines => _lines;

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _lines.Enqueue(formatter(state, exception));

    public void Dispose()
    {
    }
}
