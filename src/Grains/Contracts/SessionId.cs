using System.Security.Cryptography;
using System.Text;

namespace Cluster.Contracts;

/// <summary>How session ids and owners are spelled; the gateway and the SDK must agree, so that either reaches the other's sessions.</summary>
public static class SessionId
{
    /// <summary>Prefix of a completion's id.</summary>
    public const string CompletionPrefix = "cmpl-";

    /// <summary>Prefix of a chat's id.</summary>
    public const string ChatPrefix = "chatcmpl-";

    /// <summary>A new id: prefix and 128 bits from the operating system's generator, in hex. Knowing an id is no right, but it cannot be guessed.</summary>
    public static string New(RequestKind kind) =>
        (kind == RequestKind.Chat ? ChatPrefix : CompletionPrefix) + RandomNumberGenerator.GetHexString(32, lowercase: true);

    /// <summary>
    /// <see cref="GenerationRequest.Owner"/> of an API key: SHA-256 in hex, so that stored sessions do not hold keys. Empty without a key.
    /// </summary>
    public static string OwnerOf(string? apiKey) =>
        string.IsNullOrEmpty(apiKey) ? "" : Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(apiKey)));
}
