using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Cluster.TestKit.Processes;

/// <summary>A real process that a test starts, watches, freezes and kills. Disposal kills it.</summary>
public class ChildProcess : IDisposable
{
    private const int SigKill = 9;
    private const int SigTerm = 15;
    private const int SigContinue = 18;
    private const int SigStop = 19;

    private readonly Process _process;
    private readonly ConcurrentQueue<string> _output = new();
    private readonly List<(Func<string, bool> Match, TaskCompletionSource<string> Seen)> _waits = [];

    /// <summary>Starts a program.</summary>
    public ChildProcess(string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null, string? workingFolder = null)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = workingFolder ?? Path.GetTempPath(),
        };
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        _process = new Process { StartInfo = start, EnableRaisingEvents = true };
        _process.OutputDataReceived += (_, line) => OnLine(line.Data);
        _process.ErrorDataReceived += (_, line) => OnLine(line.Data);
        _process.Exited += (_, _) => FailWaits();
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Process id.</summary>
    public int Id => _process.Id;

    /// <summary>Whether it has ended.</summary>
    public bool HasExited => _process.HasExited;

    /// <summary>Exit code, once it has ended.</summary>
    public int ExitCode => _process.ExitCode;

    /// <summary>What it has written so far, both streams.</summary>
    public string Output => string.Join('\n', _output);

    /// <summary>Lines it has written so far, both streams.</summary>
    public IReadOnlyCollection<string> Lines => _output;

    /// <summary>Its resident memory in bytes.</summary>
    public long ResidentBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    /// <summary>Processor time it has used.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>Writes a line to its standard input.</summary>
    public void WriteLine(string line)
    {
        _process.StandardInput.WriteLine(line);
        _process.StandardInput.Flush();
    }

    /// <summary>Waits for a line, past or future.</summary>
    public async Task<string> WaitForLineAsync(Func<string, bool> match, TimeSpan limit)
    {
        var seen = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_waits)
        {
            if (_output.FirstOrDefault(match) is { } past)
                return past;
            _waits.Add((match, seen));
        }
        if (_process.HasExited)
            FailWaits();
        try
        {
            return await seen.Task.WaitAsync(limit);
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"Process {Id} did not write the awaited line within {limit.TotalSeconds} s. It wrote:\n{Output}");
        }
    }

    /// <summary>Waits for its end and returns the exit code.</summary>
    public async Task<int> WaitForExitAsync(TimeSpan limit)
    {
        using var timeout = new CancellationTokenSource(limit);
        try
        {
            await _process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"Process {Id} did not end within {limit.TotalSeconds} s. It wrote:\n{Output}");
        }
        return _process.ExitCode;
    }

    /// <summary>kill -9, and waits until it is gone.</summary>
    public void Kill()
    {
        if (!_process.HasExited)
            Signal(SigKill);
        _process.WaitForExit();
    }

    /// <summary>SIGTERM.</summary>
    public void Terminate() => Signal(SigTerm);

    /// <summary>SIGSTOP: the process stays, but does nothing.</summary>
    public void Freeze() => Signal(SigStop);

    /// <summary>SIGCONT.</summary>
    public void Thaw() => Signal(SigContinue);

    /// <inheritdoc/>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        Kill();
        _process.Dispose();
    }

    private void Signal(int signal)
    {
        if (SendSignal(_process.Id, signal) != 0 && !_process.HasExited)
            throw new InvalidOperationException($"Signal {signal} to process {_process.Id} failed: error {Marshal.GetLastPInvokeError()}.");
    }

    private void OnLine(string? line)
    {
        if (line is null)
            return;
        lock (_waits)
        {
            _output.Enqueue(line);
            foreach ((_, TaskCompletionSource<string> seen) in _waits.Where(wait => wait.Match(line)))
                seen.TrySetResult(line);
        }
    }

    private void FailWaits()
    {
        lock (_waits)
        {
            foreach ((_, TaskCompletionSource<string> seen) in _waits)
                seen.TrySetException(new InvalidOperationException($"The process ended with exit code {_process.ExitCode}. It wrote:\n{Output}"));
        }
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int SendSignal(int process, int signal);
}
