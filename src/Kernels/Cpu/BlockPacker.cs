using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;

namespace Cluster.Kernels.Cpu;

/// <summary>Packs quantised weights into panels of 16 outputs: blocks of a file as they are, or floating-point rows quantised on the way.</summary>
internal static unsafe class BlockPacker
{
    private const int Group = BlockView.Group;

    // Between quads of an output's codes, and, in fp16 values, from a scale to its minimum.
    private const int QuadBytes = 4 * BlockView.Width, Minima = 2 * BlockView.Width;

    /// <summary>The format for these parts, or None if they are kept as floating-point panels.</summary>
    /// <param name="parts">Stacked tensors of equal width.</param>
    /// <param name="type">Stored type that was asked for; null keeps the parts' own.</param>
    public static BlockKind KindFor(IReadOnlyList<HostTensor> parts, DType? type)
    {
        if (parts[0].Columns % Group != 0)
            return BlockKind.None;
        DType own = parts[0].Type;
        bool alike = parts.All(part => part.Type == own);
        return (type ?? (alike ? own : parts.All(part => part.Type.IsQuantized()) ? DType.Q8_0 : DType.Float32)) switch
        {
            DType.Q8_0 or DType.Q6_K => BlockKind.Int8,
            DType.Q4_0 => BlockKind.Int4,
            DType.Q4_K => BlockKind.Int4Minimum,
            _ => BlockKind.None,
        };
    }

    /// <summary>Stacks the parts along the output.</summary>
    /// <exception cref="CheckpointFormatException">A scale is not finite.</exception>
    public static BlockMatrix Pack(CpuThreadPool pool, IReadOnlyList<HostTensor> parts, BlockKind kind)
    {
        int outputs = checked((int)parts.Sum(part => (long)part.Rows));
        var matrix = new BlockMatrix(kind, outputs, parts[0].Columns);
        string? broken = null;
        using var rows = new PackRows(pool, parts, BlockView.Width);
        try
        {
            rows.Run((panel, lanes) => broken = PackPanel(parts, matrix.View, panel, lanes) ?? broken);
        }
        catch
        {
            matrix.Dispose();
            throw;
        }
        if (broken is null)
            return matrix;
        matrix.Dispose();
        throw new CheckpointFormatException("weights", $"tensor {broken}: scale of a group", "a finite number", "NaN or infinity");
    }

    /// <summary>Packs the rows of a panel; the name of a tensor with a scale that is not finite, or null.</summary>
    private static string? PackPanel(IReadOnlyList<HostTensor> parts, BlockView view, int panel, ReadOnlySpan<PackRow> rows)
    {
        string? broken = null;
        DType blockType = BlockType(view.Kind);
        byte[] blocks = ArrayPool<byte>.Shared.Rent((int)blockType.BytesOf(view.Inputs));
        float[] values = ArrayPool<float>.Shared.Rent(view.Inputs);
        for (int lane = 0; lane < rows.Length; lane++)
        {
            HostTensor row = parts[rows[lane].Part] with { Pointer = rows[lane].Start, Rows = 1 };
            if (!PackLane(RowBlocksOf(row, blockType, blocks, values), view, view.Panel(panel), lane))
                broken = row.Name;
        }
        ArrayPool<float>.Shared.Return(values);
        ArrayPool<byte>.Shared.Return(blocks);
        return broken;
    }

    private static DType BlockType(BlockKind kind) => kind switch
    {
        BlockKind.Int8 => DType.Q8_0,
        BlockKind.Int4 => DType.Q4_0,
        _ => DType.Q4_K,
    };

    private static ReadOnlySpan<byte> RowBlocksOf(HostTensor row, DType blockType, byte[] blocks, float[] values)
    {
        int bytes = (int)blockType.BytesOf(row.Columns);
        if (row.Type == blockType)
            return new ReadOnlySpan<byte>((void*)row.Pointer, bytes);
        row.ReadRow(0, values);
        BlockQuantizer.Quantize(blockType, values.AsSpan(0, row.Columns), blocks);
        return blocks.AsSpan(0, bytes);
    }

    private static bool PackLane(ReadOnlySpan<byte> blocks, BlockView view, byte* panel, int lane)
    {
        bool finite = true;
        for (int group = 0; group < view.Groups; group++)
        {
            byte* record = panel + ((long)(group / 2) * BlockView.RecordBytes(view.Kind));
            var head = (Half*)(record + (2 * BlockView.Width * (group % 2)) + (2 * lane));
            byte* codes = record + BlockView.HeadBytes(view.Kind) + (group % 2 * BlockView.GroupBytes(view.Kind)) + (4 * lane);
            switch (view.Kind)
            {
                case BlockKind.Int8:
                    PackInt8(blocks.Slice(34 * group, 34), head, codes);
                    break;
                case BlockKind.Int4:
                    PackInt4(blocks.Slice(18 * group, 18), head, codes);
                    break;
                default:
                    PackInt4Minimum(blocks.Slice(group / 8 * 144, 144), group % 8, head, codes);
                    finite &= Half.IsFinite(head[Minima]);
                    break;
            }
            finite &= Half.IsFinite(*head);
        }
        return finite;
    }

    private static void PackInt8(ReadOnlySpan<byte> block, Half* head, byte* codes)
    {
        *head = BinaryPrimitives.ReadHalfLittleEndian(block);
        ReadOnlySpan<uint> quads = MemoryMarshal.Cast<byte, uint>(block[2..]);
        for (int k = 0; k < quads.Length; k++)
            *(uint*)(codes + (QuadBytes * k)) = quads[k] ^ 0x80808080;
    }

    // A block holds element i in the lower nibble of byte i and element 16 + i in the upper, as panels do.
    private static void PackInt4(ReadOnlySpan<byte> block, Half* head, byte* codes)
    {
        *head = BinaryPrimitives.ReadHalfLittleEndian(block);
        ReadOnlySpan<uint> quads = MemoryMarshal.Cast<byte, uint>(block[2..]);
        for (int k = 0; k < quads.Length; k++)
            *(uint*)(codes + (QuadBytes * k)) = quads[k];
    }

    // Factor times 6-bit scale is rounded to fp16: 2^-11, far below what 4 bits lose.
    private static void PackInt4Minimum(ReadOnlySpan<byte> block, int group, Half* head, byte* codes)
    {
        (int scale, int minimum) = BlockReader.ScaleOfQ4K(block.Slice(4, 12), group);
        head[0] = (Half)((float)BinaryPrimitives.ReadHalfLittleEndian(block) * scale);
        head[Minima] = (Half)((float)BinaryPrimitives.ReadHalfLittleEndian(block[2..]) * minimum);
        ReadOnlySpan<byte> nibbles = block.Slice(16 + (group / 2 * 32), 32);
        int shift = group % 2 * 4;
        for (int i = 0; i < 16; i++)
            codes[(QuadBytes * (i / 4)) + (i % 4)] = (byte)(((nibbles[i] >> shift) & 15) | (((nibbles[16 + i] >> shift) & 15) << 4));
    }
}
