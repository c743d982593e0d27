using Cluster.Cli;

namespace Cluster.Client.Tests.Cli;

/// <summary>Runs the command line on strings.</summary>
internal sealed class TestHost
{
    private readonly WatchedWriter _out = new();
    private readonly StringWriter _error = new();
    private Action? _interrupt;

    public string Out => _out.ToString();

    public string Error => _error.ToString();

    public Dictionary<string, string> Variables { get; } = [];

    public TextReader In { get; set; } = TextReader.Null;

    public bool IsInputTerminal { get; set; }

    /// <summary>Waits until the output is as wanted.</summary>
    public Task WaitForOutAsync(Func<string, bool> wanted, CancellationToken cancellationToken) => _out.WaitAsync(wanted, cancellationToken);

    /// <summary>Presses Ctrl+C.</summary>
    public void Interrupt() => _interrupt?.Invoke();

    /// <summary>Runs and gives the exit code.</summary>
    public Task<int> RunAsync(params string[] args) => ClusterCommand.RunAsync(args, new CliHost
    {
        In = In,
        Out = _out,
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

    /// <summary>Keeps what is written, from any thread, and tells who waits for it.</summary>
    private sealed class WatchedWriter : TextWriter
    {
        private readonly System.Text.StringBuilder _text = new();
        private readonly List<(Func<string, bool> Wanted, TaskCompletionSource Seen)> _waits = [];

        public override System.Text.Encoding Encoding => System.Text.Encoding.Unicode;

        public override void Write(char value) => Write(value.ToString());

        public override void Write(char[] buffer, int index, int count) => Write(new string(buffer, index, count));

        public override void Write(string? value)
        {
            lock (_waits)
            {
                _text.Append(value);
                foreach ((_, TaskCompletionSource seen) in _waits.Where(wait => wait.Wanted(_text.ToString())))
                    seen.TrySetResult();
            }
        }

        public override void WriteLine(string? value) => Write(value + Environment.NewLine);

        public Task WaitAsync(Func<string, bool> wanted, CancellationToken cancellationToken)
        {
            var seen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            lock (_waits)
            {
                if (wanted(_text.ToString()))
                    return Task.CompletedTask;
                _waits.Add((wanted, seen));
            }
            return seen.Task.WaitAsync(cancellationToken);
        }

        public override string ToString()
        {
            lock (_waits)
                return _text.ToString();
        }
    }

    private sealed class Registration(Action dispose) : IDisposable
    {
        public void Dispose() => dispose();
    }
}
