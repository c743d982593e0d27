using System.CommandLine;
using Spectre.Console;

namespace Cluster.Cli.Diagnosis;

/// <summary><c>cluster doctor</c>: looks for what is wrong and says what to do.</summary>
internal sealed class DoctorCommand : Command
{
    private readonly CliHost _host;
    private readonly ConnectionOptions _connection;
    private readonly Option<string> _model = new("--model", "-m") { Description = "Model to try; default: the first one.", DefaultValueFactory = _ => "" };

    public DoctorCommand(CliHost host, ConnectionOptions connection) : base("doctor", "Checks this machine and the server, and says what to do.")
    {
        (_host, _connection) = (host, connection);
        Add(_model);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        IAnsiConsole console = _host.Tables();
        int failed = 0;
        using var examination = new Examination(_connection.Url(parsed), _connection.ApiKey(parsed), parsed.GetValue(_model)!, _host.Time);
        await foreach (Finding finding in examination.RunAsync(cancellationToken))
        {
            (string mark, string colour) = finding.Verdict switch
            {
                Verdict.Good => ("ok  ", "green"),
                Verdict.Doubtful => ("warn", "yellow"),
                _ => ("FAIL", "red"),
            };
            console.MarkupLineInterpolated($"[{colour}]{mark}[/] {finding.Check}: {finding.Detail}");
            if (finding.Remedy is not null)
                console.MarkupLineInterpolated($"     -> {finding.Remedy}");
            failed += finding.Verdict == Verdict.Bad ? 1 : 0;
        }
        console.WriteLine(failed == 0 ? "All is well." : $"{failed} check(s) failed.");
        return failed == 0 ? 0 : ClusterCommand.Failed;
    }
}
