using System.CommandLine;
using Cluster.Client;

namespace Cluster.Cli;

/// <summary>Options of every command: which server, which key, which way.</summary>
internal sealed class ConnectionOptions
{
    private const string DefaultUrl = "http://127.0.0.1:8000";
    private readonly Option<string> _url;
    private readonly Option<string?> _apiKey;
    private readonly Option<string> _transport;
    private readonly Option<double> _connectTimeout;

    public ConnectionOptions(CliHost host)
    {
        _url = new Option<string>("--url")
        {
            Description = "Address of any silo. Environment: CLUSTER_URL.",
            DefaultValueFactory = _ => host.Variable("CLUSTER_URL") is { Length: > 0 } url ? url : DefaultUrl,
            Recursive = true,
        };
        _url.Validators.Add(result =>
        {
            string? text = result.GetValueOrDefault<string>();
            if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? url) || url.Scheme is not ("http" or "https"))
                result.AddError($"--url must be an http or https address; it is '{text}'.");
        });
        _apiKey = new Option<string?>("--api-key")
        {
            Description = "Key of the API. Environment: CLUSTER_API_KEY.",
            DefaultValueFactory = _ => host.Variable("CLUSTER_API_KEY"),
            Recursive = true,
        };
        _transport = new Option<string>("--transport")
        {
            Description = "http, orleans (grain calls through the gateways the server names) or auto.",
            DefaultValueFactory = _ => "http",
            Recursive = true,
        };
        _transport.AcceptOnlyFromAmong("http", "orleans", "auto");
        _connectTimeout = new Option<double>("--connect-timeout") { Description = "Seconds to wait for the first connection.", DefaultValueFactory = _ => 10, Recursive = true };
        _connectTimeout.Check(seconds => seconds is > 0 and <= 3600, "more than 0 and at most 3600 seconds");
    }

    /// <summary>Adds the options to the root, for all commands below.</summary>
    public void AddTo(Command root)
    {
        root.Add(_url);
        root.Add(_apiKey);
        root.Add(_transport);
        root.Add(_connectTimeout);
    }

    /// <summary>Address of the server, without a trailing slash or <c>/v1</c> (which OpenAI tools want and routes here add).</summary>
    public Uri Url(ParseResult parsed)
    {
        string url = parsed.GetValue(_url)!.TrimEnd('/');
        return new Uri(url.EndsWith("/v1", StringComparison.Ordinal) ? url[..^3] : url);
    }

    /// <summary>Key, or null.</summary>
    public string? ApiKey(ParseResult parsed) => parsed.GetValue(_apiKey);

    /// <summary>Connects as the options say.</summary>
    public Task<InferenceClient> ConnectAsync(ParseResult parsed, CliHost host, CancellationToken cancellationToken) => InferenceClient.ConnectAsync(
        new InferenceClientOptions
        {
            Url = Url(parsed).AbsoluteUri,
            ApiKey = ApiKey(parsed),
            Transport = Enum.Parse<TransportKind>(parsed.GetValue(_transport)!, ignoreCase: true),
            ConnectTimeout = TimeSpan.FromSeconds(parsed.GetValue(_connectTimeout)),
            TimeProvider = host.Time,
        },
        cancellationToken);
}
