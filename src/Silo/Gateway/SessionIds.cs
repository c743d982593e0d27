using System.Security.Cryptography;
using System.Text;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway;

/// <summary>
/// Session ids of the HTTP API. A caller that names its request finds the session by that name, from any silo and after a
/// restart, because the id is then a function of owner and name; otherwise ids are drawn.
/// </summary>
internal static class SessionIds
{
    private const int HexDigits = 32;

    /// <summary>The id for a new session.</summary>
    public static string For(RequestKind kind, string owner, string? requestId) =>
        requestId is null ? SessionId.New(kind) : Derive(kind, owner, requestId);

    /// <summary>The session a path segment means: an id, or the caller's own request id.</summary>
    public static string Resolve(RequestKind kind, string owner, string segment)
    {
        string prefix = Prefix(kind);
        bool isId = segment.Length == prefix.Length + HexDigits
            && segment.StartsWith(prefix, StringComparison.Ordinal)
            && segment.AsSpan(prefix.Length).IndexOfAnyExcept("0123456789abcdef") < 0;
        return isId ? segment : Derive(kind, owner, segment);
    }

    private static string Derive(RequestKind kind, string owner, string requestId)
    {
        byte[] digest = SHA256.HashData(Encoding.UTF8.GetBytes($"x-request-id\n{owner}\n{requestId}"));
        return Prefix(kind) + Convert.ToHexStringLower(digest)[..HexDigits];
    }

    private static string Prefix(RequestKind kind) => kind == RequestKind.Chat ? SessionId.ChatPrefix : SessionId.CompletionPrefix;
}
