using System.Buffers.Binary;
using System.Collections.Immutable;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Sessions;

/// <summary>A growing byte array of variable-length integers and floats: how progress is kept between two writes.</summary>
internal sealed class PackedWriter
{
    private byte[] _bytes = new byte[64];

    /// <summary>Bytes written.</summary>
    public int Length { get; private set; }

    /// <summary>What was written.</summary>
    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, Length);

    /// <summary>Writes a number of at least 0 in 1 to 5 bytes, low bits first.</summary>
    public void Number(int value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        Span<byte> room = Room(5);
        int used = 0;
        uint rest = (uint)value;
        for (; rest >= 0x80; rest >>= 7)
            room[used++] = (byte)(rest | 0x80);
        room[used++] = (byte)rest;
        Length += used;
    }

    public void Float(float value)
    {
        BinaryPrimitives.WriteSingleLittleEndian(Room(4), value);
        Length += 4;
    }

    public void Long(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(Room(8), value);
        Length += 8;
    }

    /// <summary>Writes a length and the bytes.</summary>
    public void Block(ReadOnlySpan<byte> bytes)
    {
        Number(bytes.Length);
        bytes.CopyTo(Room(bytes.Length));
        Length += bytes.Length;
    }

    /// <summary>Writes a log-probability and the alternatives at its place.</summary>
    public void Scores(float logprob, ImmutableArray<ScoredToken> top)
    {
        Float(logprob);
        Number(top.IsDefault ? 0 : top.Length);
        if (top.IsDefault)
            return;
        foreach (ScoredToken alternative in top)
        {
            Number(alternative.Token);
            Float(alternative.Logprob);
        }
    }

    private Span<byte> Room(int count)
    {
        if (_bytes.Length - Length < count)
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Length + count));
        return _bytes.AsSpan(Length);
    }
}

/// <summary>Reads what a <see cref="PackedWriter"/> wrote; damaged bytes give an <see cref="InvalidDataException"/>.</summary>
internal ref struct PackedReader(ReadOnlySpan<byte> bytes)
{
    private ReadOnlySpan<byte> _rest = bytes;

    public readonly bool IsEmpty => _rest.IsEmpty;

    public int Number()
    {
        uint value = 0;
        for (int shift = 0; shift < 35; shift += 7)
        {
            byte part = Take(1)[0];
            value |= (uint)(part & 0x7F) << shift;
            if (part < 0x80)
                return value <= int.MaxValue ? (int)value : throw new InvalidDataException($"Number {value} is above {int.MaxValue}.");
        }

        throw new InvalidDataException("A number has more than 5 bytes.");
    }

    public float Float() => BinaryPrimitives.ReadSingleLittleEndian(Take(4));

    public long Long() => BinaryPrimitives.ReadInt64LittleEndian(Take(8));

    public ReadOnlySpan<byte> Block() => Take(Number());

    public (float Logprob, ImmutableArray<ScoredToken> Top) Scores()
    {
        float logprob = Float();
        int count = Number();
        if (count > _rest.Length / 5)
            throw new InvalidDataException($"{count} alternatives do not fit into {_rest.Length} bytes.");
        var top = ImmutableArray.CreateBuilder<ScoredToken>(count);
        for (int i = 0; i < count; i++)
            top.Add(new ScoredToken(Number(), Float(), []));
        return (logprob, top.MoveToImmutable());
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > _rest.Length)
            throw new InvalidDataException($"{count} bytes were expected, {_rest.Length} are left.");
        ReadOnlySpan<byte> taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }
}
