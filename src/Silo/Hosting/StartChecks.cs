using System.Net;
using System.Net.Sockets;
using Cluster.Grains;
using Microsoft.AspNetCore.Connections;
using StackExchange.Redis;

namespace Cluster.Silo.Hosting;

/// <summary>What would end a start half-way is found out before it: a silo that is stopped while it starts is noisy.</summary>
internal static class StartChecks
{
    /// <summary>Checks that the HTTP port is free and that Redis answers.</summary>
    /// <exception cref="StartFailedException">Names the flag and what is wrong.</exception>
    public static async Task Run(ClusterOptions options)
    {
        CheckPort(options);
        if (options.Redis is { } connection)
            await CheckRedis(connection);
    }

    /// <summary>The line for a start that failed all the same.</summary>
    public static string Explain(Exception exception, ClusterOptions options)
    {
        IEnumerable<Exception> all = exception is AggregateException several ? several.Flatten().InnerExceptions : [exception];
        return all.Any(one => one is AddressInUseException || one.InnerException is AddressInUseException)
            ? InUse(options)
            : exception.GetBaseException().Message;
    }

    private static void CheckPort(ClusterOptions options)
    {
        if (options.Port == 0)
            return;
        try
        {
            IPAddress host = options.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(options.Host);
            // Bound but not listening: a client that is already trying must not end up in a queue that nobody serves.
            using var socket = new Socket(host.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(host, options.Port));
        }
        catch (SocketException exception) when (exception.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            throw new StartFailedException(InUse(options), exception);
        }
        catch (SocketException exception)
        {
            throw new StartFailedException($"--host {options.Host} --port {options.Port}: {exception.Message}", exception);
        }
    }

    private static async Task CheckRedis(string connection)
    {
        string reason;
        try
        {
            ConfigurationOptions settings = ConfigurationOptions.Parse(connection);
            settings.AbortOnConnectFail = false;
            await using ConnectionMultiplexer redis = await ConnectionMultiplexer.ConnectAsync(settings);
            if (redis.IsConnected)
                return;
            reason = $"nobody answers at {string.Join(", ", settings.EndPoints)}";
        }
        catch (Exception exception) when (exception is RedisException or ArgumentException or FormatException)
        {
            reason = exception.Message;
        }
        // The connection text is not shown: it may hold a password.
        throw new StartFailedException($"--redis: {reason}");
    }

    private static string InUse(ClusterOptions options) => $"--port {options.Port}: the address {options.Host}:{options.Port} is in use";
}
