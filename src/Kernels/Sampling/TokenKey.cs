using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Sampling;

/// <summary>A logit and its token in one integer that sorts by logit, and among equal logits by falling token id.</summary>
internal static class TokenKey
{
    /// <summary>Makes a key; greater is better, and of equal logits the lower id is better.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(float logit, int token)
    {
        uint bits = BitConverter.SingleToUInt32Bits(logit + 0f);        // -0 becomes 0
        bits = (bits & 0x8000_0000) != 0 ? ~bits : bits | 0x8000_0000;
        return ((ulong)bits << 32) | ~(uint)token;
    }

    /// <summary>The token.</summary>
    public static int Token(ulong key) => (int)~(uint)key;

    /// <summary>The logit.</summary>
    public static float Logit(ulong key)
    {
        uint bits = (uint)(key >> 32);
        return BitConverter.UInt32BitsToSingle((bits & 0x8000_0000) != 0 ? bits & 0x7FFF_FFFF : ~bits);
    }
}
