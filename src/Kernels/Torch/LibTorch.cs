using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Cluster.Kernels.Torch;

/// <summary>
/// Loads native libtorch, once per process, before anything touches <c>TorchSharp.torch</c>. A false answer is the clean
/// "no libtorch here" of a machine that serves with the C# ops only: nothing of TorchSharp may be used after it.
/// </summary>
/// <remarks>
/// TorchSharp's own search would copy the 500 MB package beside the application, and a failed search kills its <c>torch</c>
/// class for the life of the process; both are avoided by loading the files by full path first: the later lookup
/// of the bare name finds the library that is already loaded.
/// </remarks>
public static partial class LibTorch
{
    /// <summary>Runtime host option (AppContext data) that names the folder of libtorch_cpu; written by the build.</summary>
    public const string FolderOption = "LibTorch.Folder";

    private const string WrapperFile = "libLibTorchSharp.so";
    private static readonly Lock Gate = new();
    private static bool _attempted;
    private static string? _failure;

    /// <summary>Loads libtorch and TorchSharp's native wrapper. Later calls repeat the first answer.</summary>
    /// <param name="reason">Why not; empty when the answer is true.</param>
    /// <param name="folder">Folder of libtorch_cpu.so; null: the host option <see cref="FolderOption"/>, else the application's
    /// <c>runtimes/linux-x64/native</c>.</param>
    /// <param name="cacheFolder">Where a patched copy of the wrapper may be kept; null: the user's local application data.</param>
    public static bool TryLoad(out string reason, string? folder = null, string? cacheFolder = null)
    {
        lock (Gate)
        {
            if (!_attempted)
            {
                _attempted = true;
                _failure = Load(folder, cacheFolder);
            }
            reason = _failure ?? "";
            return _failure is null;
        }
    }

    private static string? Load(string? folder, string? cacheFolder)
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64)
            return $"libtorch is supported on linux-x64; this is {RuntimeInformation.RuntimeIdentifier}";
        folder ??= AppContext.GetData(FolderOption) as string is { Length: > 0 } option ? option : BesideApplication;
        if (!File.Exists(Path.Combine(folder, "libtorch_cpu.so")))
            return $"no libtorch_cpu.so in {folder}";
        SetNativeEnvironment();
        foreach (string file in (string[])["libc10.so", "libtorch_cpu.so", "libc10_cuda.so", "libtorch_cuda.so", "libtorch.so"])
        {
            string path = Path.Combine(folder, file);
            if (!File.Exists(path) && file.Contains("cuda", StringComparison.Ordinal))
                continue;
            if (!TryOpen(path, out string? error))
                return error;
        }
        return LoadWrapper(folder, cacheFolder);
    }

    /// <summary>Where a published application carries native files.</summary>
    private static string BesideApplication => Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native");

    private static string? LoadWrapper(string folder, string? cacheFolder)
    {
        string[] places = [BesideApplication, AppContext.BaseDirectory, folder];
        string? original = places.Select(place => Path.Combine(place, WrapperFile)).FirstOrDefault(File.Exists);
        if (original is null)
            return $"no {WrapperFile} in {string.Join(", ", places)}";
        if (TryOpen(original, out string? error))
            return null;
        cacheFolder ??= Path.Combine(
            Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.Create),
            "cluster", "native");
        try
        {
            string patched = WrapperPatch.Write(original, cacheFolder);
            return TryOpen(patched, out string? second) ? null : $"{error}; patched copy: {second}";
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            return $"{error}; a patched copy could not be made: {exception.Message}";
        }
    }

    private static bool TryOpen(string path, [NotNullWhen(false)] out string? error)
    {
        try
        {
            NativeLibrary.Load(path);
            error = null;
            return true;
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException)
        {
            error = $"{path} does not load: {exception.Message.ReplaceLineEndings(" ")}";
            return false;
        }
    }

    /// <summary>
    /// libgomp's workers would spin for milliseconds after each region and steal cores that Orleans and HTTP need; oneDNN's
    /// primitive cache would grow with each new batch size. Both read the C environment when they load, which
    /// .NET's SetEnvironmentVariable does not reach. A value the user has set stays.
    /// </summary>
    private static void SetNativeEnvironment()
    {
        _ = SetEnvironment("GOMP_SPINCOUNT", "10000", overwrite: 0);
        _ = SetEnvironment("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16", overwrite: 0);
        _ = SetEnvironment("LRU_CACHE_CAPACITY", "16", overwrite: 0);
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);
}
