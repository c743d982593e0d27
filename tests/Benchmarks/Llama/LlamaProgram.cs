using System.Diagnostics;

namespace Cluster.Benchmarks.Llama;

/// <summary>One program of the reader's llama.cpp.</summary>
/// <param name="path">Its file, or a name that the shell's search path finds.</param>
/// <param name="hugePages">
/// Whether its memory may lie in huge pages, as our weights do (Linux with glibc; elsewhere it changes nothing).
/// </param>
internal sealed class LlamaProgram(string path, bool hugePages)
{
    private const string Tunables = "GLIBC_TUNABLES";

    private IReadOnlyList<string>? _unmapped;

    /// <summary>Runs it to its end.</summary>
    /// <returns>Both streams, and the seconds from its start to its end.</returns>
    /// <exception cref="IOException">It cannot be started, or it failed.</exception>
    public async Task<(string Output, string Errors, double Seconds)> RunAsync(IEnumerable<string> arguments)
    {
        (int exitCode, string output, string errors, double seconds) = await StartAsync(arguments);
        return exitCode == 0
            ? (output, errors, seconds)
            : throw new IOException($"{path} ended with exit code {exitCode}: {(errors.Length > 0 ? errors : output).Trim()}");
    }

    /// <summary>What it says of its version; null when it does not know the question (before 2026).</summary>
    public async Task<string?> VersionAsync()
    {
        (int exitCode, string output, string errors, _) = await StartAsync(["--version"]);
        string? line = (output + '\n' + errors).Split('\n').FirstOrDefault(line => line.StartsWith("version:", StringComparison.Ordinal));
        return exitCode == 0 ? line?["version:".Length..].Trim() : null;
    }

    /// <summary>Flags that keep it from mapping the weights: see <see cref="LlamaOutput.Unmapped"/>.</summary>
    public async Task<IReadOnlyList<string>> UnmappedFlagsAsync()
    {
        if (_unmapped is null)
        {
            (_, string output, string errors, _) = await StartAsync(["--help"]);
            _unmapped = LlamaOutput.Unmapped(output + errors);
        }
        return _unmapped;
    }

    private async Task<(int ExitCode, string Output, string Errors, double Seconds)> StartAsync(IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(path, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        if (hugePages && string.IsNullOrEmpty(Environment.GetEnvironmentVariable(Tunables)))
            start.Environment[Tunables] = "glibc.malloc.hugetlb=1";   // large blocks are advised as huge pages
        long began = Stopwatch.GetTimestamp();
        using Process process = Open(start);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        return (process.ExitCode, await output, await errors, seconds);
    }

    private static Process Open(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new IOException($"{start.FileName} cannot be started: {exception.Message}", exception);
        }
    }
}
