using System.CommandLine;
using Cluster.Client;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary><c>cluster chat</c>: a conversation, typed or piped in (one turn per line).</summary>
internal sealed class ChatCommand : Command
{
    private const string Commands = "/exit leaves, /system TEXT sets the system message, /clear starts anew, Ctrl+C stops an answer.";
    private readonly CliHost _host;
    private readonly ConnectionOptions _connection;
    private readonly GenerationArguments _generation = new(defaultMaxTokens: null);
    private readonly Option<string?> _system = new("--system") { Description = "System message." };

    public ChatCommand(CliHost host, ConnectionOptions connection) : base("chat", $"Holds a conversation. {Commands}")
    {
        (_host, _connection) = (host, connection);
        _generation.AddTo(this);
        Add(_system);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        await using InferenceClient client = await _connection.ConnectAsync(parsed, _host, cancellationToken);
        var conversation = new Conversation(parsed.GetValue(_system));
        CancellationTokenSource? answering = null;
        // Also while nothing is being answered: Ctrl+C must not end the program.
        using IDisposable interrupt = _host.OnInterrupt(() => Volatile.Read(ref answering)?.Cancel());
        if (_host.IsInputTerminal)
            await _host.Error.WriteLineAsync(Commands);
        int exitCode = 0;
        while (await ReadLineAsync(cancellationToken) is { } line)
        {
            if (line.Trim() is "/exit" or "/quit")
                break;
            if (line.StartsWith('/'))
            {
                await _host.Error.WriteLineAsync(conversation.Obey(line) ?? $"There is no {line.Split(' ')[0]}: {Commands}");
                continue;
            }
            if (string.IsNullOrWhiteSpace(line))
                continue;
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            Volatile.Write(ref answering, stop);
            exitCode = await AnswerAsync(client, conversation, _generation.Read(parsed), line, stop.Token);
            Volatile.Write(ref answering, null);
            if (exitCode != 0 && !_host.IsInputTerminal)
                break;
        }
        return _host.IsInputTerminal ? 0 : exitCode;
    }

    private async Task<string?> ReadLineAsync(CancellationToken cancellationToken)
    {
        if (_host.IsInputTerminal)
        {
            await _host.Out.WriteAsync("> ");
            await _host.Out.FlushAsync(cancellationToken);
        }
        return await _host.In.ReadLineAsync(cancellationToken);
    }

    /// <summary>Streams one answer; a person goes on talking after a failure.</summary>
    private async Task<int> AnswerAsync(InferenceClient client, Conversation conversation, GenerationRequest options, string line, CancellationToken cancellationToken)
    {
        GenerationRequest request = options with { Kind = RequestKind.Chat, Messages = conversation.With(line) };
        var answer = new System.Text.StringBuilder();
        int exitCode = 0;
        try
        {
            await foreach (SessionEvent sessionEvent in client.StreamAsync(request, cancellationToken))
            {
                answer.Append(sessionEvent.Text);
                await _host.Out.WriteAsync(sessionEvent.Text);
                await _host.Out.FlushAsync(CancellationToken.None);
            }
        }
        catch (OperationCanceledException)
        {
            await _host.Error.WriteAsync(" [stopped]");
            exitCode = ClusterCommand.Interrupted;
        }
        catch (Exception exception) when (exception is RequestRejectedException or StreamInterruptedException or HttpRequestException or IOException or InvalidDataException)
        {
            await _host.Error.WriteLineAsync($"error: {exception.Message}");
            if (answer.Length == 0)
                return ClusterCommand.Failed;
            exitCode = ClusterCommand.Failed;
        }
        await _host.Out.WriteLineAsync();
        conversation.Add(line, answer.ToString());
        return exitCode;
    }
}
