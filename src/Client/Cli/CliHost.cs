using Spectre.Console;

namespace Cluster.Cli;

/// <summary>What a command needs of its surroundings; tests give it strings.</summary>
internal sealed class CliHost
{
    private const int PlainWidth = 160;

    /// <summary>Standard input.</summary>
    public required TextReader In { get; init; }

    /// <summary>Standard output: answers and results only.</summary>
    public required TextWriter Out { get; init; }

    /// <summary>Standard error: errors and progress.</summary>
    public required TextWriter Error { get; init; }

    /// <summary>Whether a person types.</summary>
    public required bool IsInputTerminal { get; init; }

    /// <summary>Whether a person reads standard output.</summary>
    public required bool IsOutputTerminal { get; init; }

    /// <summary>Whether a person reads standard error.</summary>
    public required bool IsErrorTerminal { get; init; }

    /// <summary>Environment variables.</summary>
    public required Func<string, string?> Variable { get; init; }

    /// <summary>Clock and timers.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>Calls back on Ctrl+C instead of ending the process, until disposed.</summary>
    public required Func<Action, IDisposable> OnInterrupt { get; init; }

    /// <summary>The real process.</summary>
    public static CliHost ForProcess() => new()
    {
        In = Console.In,
        Out = Console.Out,
        Error = Console.Error,
        IsInputTerminal = !Console.IsInputRedirected,
        IsOutputTerminal = !Console.IsOutputRedirected,
        IsErrorTerminal = !Console.IsErrorRedirected,
        Variable = Environment.GetEnvironmentVariable,
        Time = TimeProvider.System,
        OnInterrupt = callback => new Interrupt(callback),
    };

    /// <summary>A console for tables on <see cref="Out"/>: colours only for people.</summary>
    public IAnsiConsole Tables() => Create(Out, IsOutputTerminal);

    /// <summary>A console for progress on <see cref="Error"/>.</summary>
    public IAnsiConsole Progress() => Create(Error, IsErrorTerminal);

    private static IAnsiConsole Create(TextWriter writer, bool terminal)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = terminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = terminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = terminal ? InteractionSupport.Detect : InteractionSupport.No,
        });
        if (!terminal)
            console.Profile.Width = PlainWidth;
        return console;
    }

    private sealed class Interrupt : IDisposable
    {
        private readonly ConsoleCancelEventHandler _handler;

        public Interrupt(Action callback)
        {
            _handler = (_, args) =>
            {
                args.Cancel = true;
                callback();
            };
            Console.CancelKeyPress += _handler;
        }

        public void Dispose() => Console.CancelKeyPress -= _handler;
    }
}
