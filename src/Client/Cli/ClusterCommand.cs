using System.CommandLine;
using Cluster.Cli.Bench;
using Cluster.Cli.Diagnosis;
using Cluster.Client;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary>The command line <c>cluster</c>.</summary>
internal static class ClusterCommand
{
    /// <summary>Exit code of a failure.</summary>
    public const int Failed = 1;

    /// <summary>Exit code after Ctrl+C, as shells have it: 128 + SIGINT.</summary>
    public const int Interrupted = 130;

    /// <summary>Parses and runs.</summary>
    /// <returns>The exit code: 0, or not 0 on any failure.</returns>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, CliHost host)
    {
        ParseResult parsed = Create(host).Parse(args);
        var invocation = new InvocationConfiguration
        {
            Output = host.Out,
            Error = host.Error,
            EnableDefaultExceptionHandler = false,
            // A chat takes Ctrl+C for itself.
            ProcessTerminationTimeout = parsed.CommandResult.Command is ChatCommand ? null : TimeSpan.FromSeconds(3),
        };
        try
        {
            return await parsed.InvokeAsync(invocation);
        }
        catch (OperationCanceledException)
        {
            return Interrupted;
        }
        catch (Exception exception) when (Explain(exception) is { } message)
        {
            await host.Error.WriteLineAsync($"error: {message}");
            return Failed;
        }
    }

    /// <summary>The command tree.</summary>
    public static RootCommand Create(CliHost host)
    {
        var connection = new ConnectionOptions(host);
        var root = new RootCommand("Talks to an inference cluster (or any OpenAI-compatible server).");
        connection.AddTo(root);
        root.Add(new GenerateCommand(host, connection));
        root.Add(new ChatCommand(host, connection));
        root.Add(new PsCommand(host, connection));
        root.Add(new ScaleCommand(host, connection));
        root.Add(new DrainCommand(host, connection));
        root.Add(new Command("bench", "Measures a server.") { new BenchServeCommand(host, connection) });
        root.Add(new DoctorCommand(host, connection));
        return root;
    }

    /// <summary>One line for an expected failure; null for a defect, which keeps its stack trace.</summary>
    private static string? Explain(Exception exception) => exception switch
    {
        RequestRejectedException { RetryAfterSeconds: > 0 } rejected => $"{rejected.Message} Try again in {rejected.RetryAfterSeconds} s.",
        RequestRejectedException rejected => rejected.Message,
        StreamInterruptedException interrupted => $"{interrupted.Message}{Environment.NewLine}Go on with: cluster generate --resume {interrupted.SessionId} --after {interrupted.LastSequenceNumber}",
        HttpRequestException { StatusCode: System.Net.HttpStatusCode.Unauthorized } unauthorized => $"{unauthorized.Message} Give --api-key or set CLUSTER_API_KEY.",
        HttpRequestException { StatusCode: null } unreachable => $"The server cannot be reached: {unreachable.Message}. Is it running? 'cluster doctor' looks closer.",
        HttpRequestException or TimeoutException or IOException or InvalidDataException or NotSupportedException or ArgumentException => exception.Message,
        _ => null,
    };
}
