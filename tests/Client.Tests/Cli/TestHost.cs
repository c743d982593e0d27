using Cluster.Cli;

namespace Cluster.Client.Tests.Cli;

/// <summary>Runs the command line on strings.</summary>
internal sealed class TestHost
{
    private readonly StringWriter _out = new();
    private readonly StringWriter _error = new();
    private Action? _interrupt;

    public string Out => _out.ToString();

    public string Error => _error.ToString();

    public Dictionary<string, string> Variables { get; } = [];

    public TextReader In { get; set; } = TextReader.Null;

    public bool IsInputTerminal { get; set; }

    /// <summary>Presses Ctrl+C.</summary>
    public void Interrupt() => _interrupt?.Invoke();

    /// <summary>Runs and gives the exit code.</summary>
    public Task<int> RunAsync(params string[] args) => ClusterCommand.RunAsync(args, new CliHost
    {
        In = In,
        Out = TextWriter.Synchronized(_out),
        Error = TextWriter.Synchronized(_error),
        IsInputTerminal = IsInputTerminal,
        IsOutputTerminal = false,
        IsErrorTerminal = false,
        Variable = name => Variables.GetValueOrDefault(name),
        Time = TimeProvider.System,
        OnInterrupt = callback =>
        {
            _interrupt = callback;
            return new Registration(() => _interrupt = null);
        },
    });

    private sealed class Registration(Action dispose) : IDisposable
    {
        public void Dispose() => dispose();
    }
}
