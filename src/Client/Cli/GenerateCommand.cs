using System.CommandLine;
using System.Globalization;
using Cluster.Client;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary><c>cluster generate</c>: one answer, streamed to standard output.</summary>
internal sealed class GenerateCommand : Command
{
    private const int DefaultMaxTokens = 256;
    private readonly CliHost _host;
    private readonly ConnectionOptions _connection;
    private readonly GenerationArguments _generation = new(DefaultMaxTokens);
    private readonly Argument<string?> _prompt = new("prompt") { Description = "What to continue; '-' or nothing: standard input.", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<bool> _chat = new("--chat") { Description = "Ask as a user, through the model's chat template." };
    private readonly Option<string?> _system = new("--system") { Description = "System message; implies --chat." };
    private readonly Option<string?> _tokenIds = new("--prompt-token-ids") { Description = "Prompt as token ids, such as 1,15,7." };
    private readonly Option<int> _choices = new("--n") { Description = "Choices.", DefaultValueFactory = _ => 1 };
    private readonly Option<bool> _json = new("--json") { Description = "Print the whole answer as JSON." };
    private readonly Option<string?> _resume = new("--resume") { Description = "Go on with a session instead of starting one." };
    private readonly Option<long> _after = new("--after") { Description = "With --resume: last sequence number seen.", DefaultValueFactory = _ => -1 };

    public GenerateCommand(CliHost host, ConnectionOptions connection) : base("generate", "Generates text and streams it.")
    {
        (_host, _connection) = (host, connection);
        Add(_prompt);
        _generation.AddTo(this);
        foreach (Option option in new Option[] { _chat, _system, _tokenIds, _choices, _json, _resume, _after })
            Add(option);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string? resume = parsed.GetValue(_resume);
        GenerationRequest? request = resume is null ? await ReadRequestAsync(parsed, cancellationToken) : null;
        await using InferenceClient client = await _connection.ConnectAsync(parsed, _host, cancellationToken);
        if (request is null)
            return await StreamAsync(client.ResumeAsync(resume!, parsed.GetValue(_after), cancellationToken));
        if (!parsed.GetValue(_json) && request.Choices == 1)
            return await StreamAsync(client.StreamAsync(request, cancellationToken));
        GenerationResult result = await client.GenerateAsync(request, cancellationToken);
        if (parsed.GetValue(_json))
            await _host.Out.WriteLineAsync(ResultJson.Write(result));
        else
            await WriteChoicesAsync(result);
        return 0;
    }

    private async Task<int> StreamAsync(IAsyncEnumerable<SessionEvent> events)
    {
        bool atLineStart = true;
        await foreach (SessionEvent sessionEvent in events)
        {
            if (sessionEvent.Text.Length == 0)
                continue;
            await _host.Out.WriteAsync(sessionEvent.Text);
            await _host.Out.FlushAsync();
            atLineStart = sessionEvent.Text.EndsWith('\n');
        }
        if (!atLineStart)
            await _host.Out.WriteLineAsync();
        return 0;
    }

    private async Task WriteChoicesAsync(GenerationResult result)
    {
        foreach (GenerationChoice choice in result.Choices)
        {
            await _host.Out.WriteLineAsync($"--- choice {choice.Index} ({choice.FinishReason})");
            await _host.Out.WriteLineAsync(choice.Text);
        }
    }

    private async Task<GenerationRequest> ReadRequestAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        GenerationRequest request = _generation.Read(parsed) with { Choices = parsed.GetValue(_choices) };
        if (parsed.GetValue(_tokenIds) is { } ids)
            return request with { Prompts = [new Prompt { TokenIds = [.. ids.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(ParseId)] }] };
        string? prompt = parsed.GetValue(_prompt);
        if (prompt is null or "-")
        {
            if (_host.IsInputTerminal && prompt is null)
                throw new ArgumentException("Give a prompt, or pipe one in: cluster generate \"Once upon a time\"");
            prompt = await _host.In.ReadToEndAsync(cancellationToken);
        }
        string? system = parsed.GetValue(_system);
        if (system is null && !parsed.GetValue(_chat))
            return request with { Prompts = [Prompt.FromText(prompt)] };
        var user = new ChatMessage { Role = "user", Content = prompt };
        return request with { Kind = RequestKind.Chat, Messages = system is null ? [user] : [new ChatMessage { Role = "system", Content = system }, user] };
    }

    private static int ParseId(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int id)
        ? id
        : throw new ArgumentException($"--prompt-token-ids takes numbers with commas between them; '{text}' is none.");
}
