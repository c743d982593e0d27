using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// How two ranks come to trust a connection. The dialing side says who it is; the listening side answers with a verdict on group and
/// epoch and proves that it knows the group's secret; then the dialing side proves the same. A proof is an HMAC over the side, the hello, both nonces
/// and, under TLS, the certificate: neither a replay nor somebody in the middle can give it. Proofs are compared in constant time.
/// </summary>
internal static class Handshake
{
    private const int ProofBytes = 32;
    private const int AnswerBytes = 1 + 8 + Hello.NonceBytes + ProofBytes;
    private const byte Welcome = 0;

    /// <summary>The dialing side. Returns when the connection is the peer's; throws what makes it refuse, or be refused.</summary>
    public static void Dial(Stream stream, Hello hello, ReadOnlyMemory<byte> secret, byte[] certificate)
    {
        byte[] sent = hello.ToBytes();
        stream.Write(sent);
        stream.Flush();
        var answer = new byte[AnswerBytes];
        stream.ReadExactly(answer);
        long epoch = BinaryPrimitives.ReadInt64LittleEndian(answer.AsSpan(1));
        byte[] nonce = answer[9..(9 + Hello.NonceBytes)];
        if (answer[0] != Welcome)
            throw Refused(hello, (ProcessGroupFault)answer[0], epoch);
        if (!CryptographicOperations.FixedTimeEquals(Proof(secret, "listen", sent, nonce, certificate), answer.AsSpan(9 + Hello.NonceBytes)))
            throw Refused(hello, ProcessGroupFault.WrongSecret, epoch);
        stream.Write(Proof(secret, "dial", sent, nonce, certificate));
        stream.Flush();
        int verdict = stream.ReadByte();
        if (verdict != Welcome)
            throw verdict < 0 ? new EndOfStreamException() : Refused(hello, (ProcessGroupFault)verdict, epoch);
    }

    /// <summary>The listening side's refusal.</summary>
    public static void Refuse(Stream stream, ProcessGroupFault cause, long epoch)
    {
        var answer = new byte[AnswerBytes];
        answer[0] = (byte)cause;
        BinaryPrimitives.WriteInt64LittleEndian(answer.AsSpan(1), epoch);
        stream.Write(answer);
        stream.Flush();
    }

    /// <summary>The listening side, for a hello that fits. Whether the dialing side knows the secret.</summary>
    public static bool Accept(Stream stream, Hello hello, byte[] received, ReadOnlyMemory<byte> secret, byte[] certificate)
    {
        byte[] nonce = RandomNumberGenerator.GetBytes(Hello.NonceBytes);
        var answer = new byte[AnswerBytes];
        BinaryPrimitives.WriteInt64LittleEndian(answer.AsSpan(1), hello.Epoch);
        nonce.CopyTo(answer, 9);
        Proof(secret, "listen", received, nonce, certificate).CopyTo(answer, 9 + Hello.NonceBytes);
        stream.Write(answer);
        stream.Flush();
        var proof = new byte[ProofBytes];
        stream.ReadExactly(proof);
        bool known = CryptographicOperations.FixedTimeEquals(proof, Proof(secret, "dial", received, nonce, certificate));
        stream.WriteByte(known ? Welcome : (byte)ProcessGroupFault.WrongSecret);
        stream.Flush();
        return known;
    }

    private static byte[] Proof(ReadOnlyMemory<byte> secret, string side, byte[] hello, byte[] nonce, byte[] certificate)
    {
        using var hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, secret.Span);
        hash.AppendData(Encoding.UTF8.GetBytes(side));
        hash.AppendData(hello);
        hash.AppendData(nonce);
        hash.AppendData(certificate);
        return hash.GetHashAndReset();
    }

    private static ProcessGroupException Refused(Hello hello, ProcessGroupFault cause, long epoch)
    {
        string reason = cause switch
        {
            ProcessGroupFault.WrongEpoch => $"group '{hello.Group}' is at epoch {epoch} there, this rank came with epoch {hello.Epoch}",
            ProcessGroupFault.WrongSecret => $"the secrets of group '{hello.Group}' epoch {hello.Epoch} differ",
            ProcessGroupFault.Unreachable => $"nobody joined group '{hello.Group}' epoch {hello.Epoch} as rank {hello.To} there",
            _ => $"group '{hello.Group}' has another size or other connections there than {hello.Size} ranks and {hello.Connections} connections",
        };
        return new ProcessGroupException(hello.From, hello.To, CollectiveOp.None, -1, cause, reason);
    }
}
