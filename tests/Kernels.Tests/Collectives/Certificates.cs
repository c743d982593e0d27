using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>Self-signed certificates.</summary>
internal static class Certificates
{
    public static TcpMeshOptions Encrypted { get; } = TcpRanks.Options with { Certificate = Create() };

    public static X509Certificate2 Create()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=silo", key, HashAlgorithmName.SHA256);
        DateTimeOffset start = new(2020, 1, 1, 0, 0, 0, TimeSpan.Zero);
        return request.CreateSelfSigned(start, start.AddYears(100));
    }
}
