using System.Security.Cryptography;
using System.Text;
using Cluster.Contracts;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway;

/// <summary>The keys that may use the API; without keys it is open.</summary>
internal sealed class ApiKeys(IReadOnlyList<string> keys)
{
    private static readonly object OwnerItem = new();
    private readonly (byte[] Digest, string Owner)[] _keys =
        [.. keys.Select(key => (SHA256.HashData(Encoding.UTF8.GetBytes(key)), SessionId.OwnerOf(key)))];

    /// <summary>Whose request this is; empty when no keys are configured.</summary>
    public static string OwnerOf(HttpContext context) => context.Items.TryGetValue(OwnerItem, out object? owner) ? (string)owner! : "";

    /// <summary>Lets a request pass, or refuses it with 401.</summary>
    public void Check(HttpContext context)
    {
        if (_keys.Length == 0 || IsOpen(context.Request.Path))
            return;
        string header = context.Request.Headers.Authorization.ToString();
        const string Scheme = "Bearer ";
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
            throw new ApiErrorException(ApiError.Unauthorized("An API key is needed: send the header 'Authorization: Bearer KEY'."));
        byte[] digest = SHA256.HashData(Encoding.UTF8.GetBytes(header[Scheme.Length..].Trim()));
        string? owner = null;
        // Every key is compared in full, so that timing tells nothing.
        foreach ((byte[] known, string name) in _keys)
            owner = CryptographicOperations.FixedTimeEquals(known, digest) ? name : owner;
        context.Items[OwnerItem] = owner ?? throw new ApiErrorException(ApiError.Unauthorized("The API key is not valid."));
    }

    private static bool IsOpen(PathString path) =>
        path.StartsWithSegments("/health") || path.StartsWithSegments("/metrics") || path.StartsWithSegments("/ping");
}
