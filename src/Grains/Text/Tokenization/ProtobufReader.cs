using System.Buffers.Binary;
using System.Text;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>Walks the fields of one protobuf message. Lengths are checked before anything is read.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> message, string path)
{
    private const int Varint = 0;
    private const int Fixed64 = 1;
    private const int LengthDelimited = 2;
    private const int Fixed32 = 5;
    private const int MaxVarintBytes = 10;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    private ReadOnlySpan<byte> _rest = message;
    private int _wireType;
    private ulong _number;
    private ReadOnlySpan<byte> _content;

    /// <summary>Number of the current field.</summary>
    public int Field { get; private set; }

    /// <summary>The bytes of the current length-delimited field.</summary>
    public readonly ReadOnlySpan<byte> Bytes => _wireType == LengthDelimited ? _content : throw WrongType();

    /// <summary>The current varint field.</summary>
    public readonly long Integer => _wireType == Varint ? (long)_number : throw WrongType();

    public readonly bool Flag => Integer != 0;

    public readonly float Float => _wireType == Fixed32 ? BitConverter.UInt32BitsToSingle((uint)_number) : throw WrongType();

    public readonly string Text
    {
        get
        {
            try
            {
                return StrictUtf8.GetString(Bytes);
            }
            catch (ArgumentException)
            {
                throw Refuse("bytes that are not UTF-8", "must be text");
            }
        }
    }

    /// <summary>Moves to the next field; false at the end of the message.</summary>
    public bool Read()
    {
        if (_rest.IsEmpty)
            return false;
        ulong tag = ReadVarint();
        (Field, _wireType) = ((int)(tag >> 3 & 0x1FFFFFFF), (int)(tag & 7));
        switch (_wireType)
        {
            case Varint:
                _number = ReadVarint();
                break;
            case Fixed64:
                _number = BinaryPrimitives.ReadUInt64LittleEndian(Take(sizeof(ulong)));
                break;
            case LengthDelimited:
                _content = Take(ReadVarint());
                break;
            case Fixed32:
                _number = BinaryPrimitives.ReadUInt32LittleEndian(Take(sizeof(uint)));
                break;
            default:
                throw Refuse($"wire type {_wireType}", "must be a protobuf field");
        }

        return true;
    }

    private ReadOnlySpan<byte> Take(ulong length)
    {
        if (length > (ulong)_rest.Length)
            throw Refuse($"{length} bytes", $"must fit into the {_rest.Length} bytes that are left");
        ReadOnlySpan<byte> taken = _rest[..(int)length];
        _rest = _rest[(int)length..];
        return taken;
    }

    private ulong ReadVarint()
    {
        ulong value = 0;
        for (int i = 0; i < MaxVarintBytes; i++)
        {
            byte part = Take(1)[0];
            value |= (ulong)(part & 0x7F) << (7 * i);
            if (part < 0x80)
                return value;
        }

        throw Refuse("more than 10 bytes", "must be a varint");
    }

    private readonly TokenizerFormatException WrongType() => Refuse($"wire type {_wireType}", "has the wrong type");

    private readonly TokenizerFormatException Refuse(string value, string problem) =>
        new(TokenizerFiles.SentencePieceName, $"{path}[{Field}]", value, problem);
}
