using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Cluster.Kernels.Torch;

/// <summary>
/// Makes TorchSharp's native wrapper load on Debian 12 and Ubuntu 22.04. Built with GCC 15, it asks for symbol
/// version GLIBCXX_3.4.32, which their libstdc++ lacks; the one symbol behind it marks a use of iostream and is never
/// called. The copy declares that version weak (ELF gABI, vna_flags VER_FLG_WEAK), so that the dynamic loader accepts its absence.
/// </summary>
internal static class WrapperPatch
{
    private const string Version = "GLIBCXX_3.4.32";
    private const uint VersionNeedsSection = 0x6ffffffe;
    private const ushort Weak = 2;

    /// <summary>Writes the patched copy into a folder, named by the original's hash; an existing copy is taken as it is.</summary>
    /// <exception cref="InvalidDataException">The file is no 64-bit little-endian ELF or does not ask for that version.</exception>
    public static string Write(string original, string folder)
    {
        byte[] image = File.ReadAllBytes(original);
        string name = $"libLibTorchSharp-{Convert.ToHexStringLower(SHA256.HashData(image))[..16]}.so";
        string target = Path.Combine(folder, name);
        if (File.Exists(target))
            return target;
        Apply(image);
        Directory.CreateDirectory(folder);
        // Another process may do the same now: a rename makes the whole file appear at once.
        string temporary = Path.Combine(folder, $"{name}.{Environment.ProcessId}.{Guid.NewGuid():N}");
        File.WriteAllBytes(temporary, image);
        File.Move(temporary, target, overwrite: true);
        return target;
    }

    /// <summary>Marks every need of <see cref="Version"/> weak, in place.</summary>
    internal static void Apply(Span<byte> image)
    {
        if (image.Length < 64 || !image[..6].SequenceEqual<byte>([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1]))
            throw new InvalidDataException("Not a 64-bit little-endian ELF file.");
        try
        {
            if (Mark(image) == 0)
                throw new InvalidDataException($"The file does not ask for {Version}.");
        }
        catch (ArgumentOutOfRangeException)
        {
            throw new InvalidDataException("The ELF section table points outside the file.");
        }
    }

    private static int Mark(Span<byte> image)
    {
        int table = Int(image, 0x28, 8), entry = Short(image, 0x3a), count = Short(image, 0x3c), marked = 0;
        for (int i = 0; i < count; i++)
        {
            Span<byte> section = image.Slice(table + i * entry, 64);
            if (BinaryPrimitives.ReadUInt32LittleEndian(section[4..]) != VersionNeedsSection)
                continue;
            int strings = Int(image, table + Int(section, 0x28, 4) * entry + 0x18, 8);
            marked += MarkSection(image, Int(section, 0x18, 8), strings);
        }
        return marked;
    }

    /// <summary>Walks Elf64_Verneed (one per library) and its chain of Elf64_Vernaux (one per version).</summary>
    private static int MarkSection(Span<byte> image, int offset, int strings)
    {
        int marked = 0;
        for (int need = offset; ;)
        {
            int versions = Short(image, need + 2);
            int version = need + Int(image, need + 8, 4);
            for (int i = 0; i < versions; i++)
            {
                if (NameAt(image, strings + Int(image, version + 8, 4)))
                {
                    BinaryPrimitives.WriteUInt16LittleEndian(image.Slice(version + 4, 2), Weak);
                    marked++;
                }
                version += Int(image, version + 12, 4);
            }
            int next = Int(image, need + 12, 4);
            if (next == 0)
                return marked;
            need += next;
        }
    }

    private static bool NameAt(Span<byte> image, int offset)
    {
        ReadOnlySpan<byte> wanted = Encoding.ASCII.GetBytes(Version + "\0");
        return image[offset..].StartsWith(wanted);
    }

    private static int Short(Span<byte> image, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(image.Slice(offset, 2));

    private static int Int(Span<byte> image, int offset, int size)
    {
        ulong value = size == 8
            ? BinaryPrimitives.ReadUInt64LittleEndian(image.Slice(offset, 8))
            : BinaryPrimitives.ReadUInt32LittleEndian(image.Slice(offset, 4));
        return value <= int.MaxValue ? (int)value : throw new InvalidDataException($"ELF offset {value} is outside the file.");
    }
}
