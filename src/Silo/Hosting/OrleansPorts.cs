using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Cluster.Silo.Hosting;

/// <summary>
/// Orleans' ports of a silo. Free ones are taken and remembered per silo name, because a restart on the port of last time
/// is back at once: its endpoint replaces the dead silo's in the membership (measured: 1.0 s against 17 s).
/// </summary>
internal readonly record struct OrleansPorts(int Silo, int Gateway)
{
    /// <summary>The ports: as given, else as remembered and still free, else new ones.</summary>
    public static OrleansPorts Remember(string dataFolder, string siloName, int? silo, int? gateway)
    {
        string file = Path.Combine(dataFolder, "ports", FileName(siloName));
        OrleansPorts? remembered = Read(file);
        int siloPort = silo ?? Reuse(remembered?.Silo, taken: gateway) ?? FreePort(taken: gateway);
        int gatewayPort = gateway ?? Reuse(remembered?.Gateway, taken: siloPort) ?? FreePort(taken: siloPort);
        var ports = new OrleansPorts(siloPort, gatewayPort);
        if (ports != remembered)
            Write(file, ports);
        return ports;
    }

    private static OrleansPorts? Read(string file)
    {
        if (!File.Exists(file))
            return null;
        string[] words = File.ReadAllText(file).Split(' ');
        return words is [var first, var second] && IsPort(first, out int silo) && IsPort(second, out int gateway) && silo != gateway
            ? new OrleansPorts(silo, gateway)
            : null;
    }

    private static bool IsPort(string text, out int port) =>
        int.TryParse(text.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out port) && port is > 0 and <= 65535;

    private static void Write(string file, OrleansPorts ports)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        // Whole or not at all: another process may read at the same time.
        string temporary = $"{file}.{Environment.ProcessId}";
        File.WriteAllText(temporary, string.Create(CultureInfo.InvariantCulture, $"{ports.Silo} {ports.Gateway}"));
        File.Move(temporary, file, overwrite: true);
    }

    private static int? Reuse(int? port, int? taken) => port is { } number && number != taken && IsFree(number) ? number : null;

    private static bool IsFree(int port)
    {
        try
        {
            using var listener = new TcpListener(IPAddress.Any, port);
            listener.Start();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static int FreePort(int? taken)
    {
        using var listener = new TcpListener(IPAddress.Any, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        return port == taken ? FreePort(taken) : port;
    }

    private static string FileName(string siloName)
    {
        var name = new StringBuilder();
        foreach (char c in siloName)
            name.Append(char.IsAsciiLetterOrDigit(c) || c is '-' or '_' ? c.ToString() : $"%{(int)c:x4}");
        return name.ToString();
    }
}
