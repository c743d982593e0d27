using System.Runtime.InteropServices;
using System.Text.Json;

namespace Cluster.DemoModels.Checkpoints;

/// <summary>A named fp32 array with its shape.</summary>
internal sealed record NamedTensor(string Name, long[] Shape, float[] Values);

/// <summary>A tensor that is made when its turn to be written comes.</summary>
/// <param name="BFloat16">Stored as BF16, else as F32.</param>
internal sealed record TensorPlan(string Name, long[] Shape, bool BFloat16, Func<float[]> Values);

/// <summary>Writes and reads safetensors files of fp32 or bf16 tensors (8-byte header length, JSON header, raw bytes).</summary>
internal static class TensorFile
{
    /// <summary>Writes tensors as F32 or, rounded to nearest even, as BF16; the file appears at once.</summary>
    public static void Write(string path, IEnumerable<NamedTensor> tensors, bool bfloat16, IReadOnlyDictionary<string, string> metadata) =>
        Write(path, [.. tensors.Select(tensor => new TensorPlan(tensor.Name, tensor.Shape, bfloat16, () => tensor.Values))], metadata);

    /// <summary>Writes tensors one by one as they are made, so that a large checkpoint is never whole in memory.</summary>
    public static void Write(string path, IReadOnlyList<TensorPlan> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        var header = new Dictionary<string, object> { ["__metadata__"] = metadata };
        long offset = 0;
        foreach (TensorPlan tensor in tensors)
        {
            long end = offset + tensor.Shape.Aggregate(1L, (product, size) => product * size) * (tensor.BFloat16 ? 2 : 4);
            header.Add(tensor.Name, new { dtype = tensor.BFloat16 ? "BF16" : "F32", shape = tensor.Shape, data_offsets = new[] { offset, end } });
            offset = end;
        }
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(header);
        int padded = (json.Length + 7) / 8 * 8;
        string temporary = path + ".new";
        using (FileStream stream = File.Create(temporary))
        {
            stream.Write(BitConverter.GetBytes((long)padded));
            stream.Write(json);
            stream.Write(Enumerable.Repeat((byte)' ', padded - json.Length).ToArray());
            foreach (TensorPlan tensor in tensors)
            {
                float[] values = tensor.Values();
                stream.Write(tensor.BFloat16 ? MemoryMarshal.AsBytes<ushort>(ToBFloat16(values)) : MemoryMarshal.AsBytes<float>(values));
            }
        }
        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>Reads a whole file of F32 and BF16 tensors, widened to fp32.</summary>
    public static Dictionary<string, NamedTensor> Read(string path, out Dictionary<string, string> metadata)
    {
        byte[] file = File.ReadAllBytes(path);
        int headerLength = checked((int)BitConverter.ToInt64(file, 0));
        using JsonDocument header = JsonDocument.Parse(file.AsMemory(8, headerLength));
        metadata = [];
        Dictionary<string, NamedTensor> tensors = [];
        foreach (JsonProperty entry in header.RootElement.EnumerateObject())
        {
            if (entry.NameEquals("__metadata__"))
            {
                metadata = entry.Value.Deserialize<Dictionary<string, string>>()!;
                continue;
            }
            int[] offsets = entry.Value.GetProperty("data_offsets").Deserialize<int[]>()!;
            ReadOnlySpan<byte> bytes = file.AsSpan(8 + headerLength + offsets[0], offsets[1] - offsets[0]);
            float[] values = entry.Value.GetProperty("dtype").GetString() switch
            {
                "F32" => MemoryMarshal.Cast<byte, float>(bytes).ToArray(),
                "BF16" => FromBFloat16(MemoryMarshal.Cast<byte, ushort>(bytes)),
                string other => throw new InvalidDataException($"{path}: tensor {entry.Name} has dtype {other}; F32 and BF16 are read here."),
                null => throw new InvalidDataException($"{path}: tensor {entry.Name} has no dtype."),
            };
            tensors.Add(entry.Name, new NamedTensor(entry.Name, entry.Value.GetProperty("shape").Deserialize<long[]>()!, values));
        }
        return tensors;
    }

    /// <summary>Rounds to nearest, ties to even.</summary>
    public static ushort[] ToBFloat16(ReadOnlySpan<float> values)
    {
        var rounded = new ushort[values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(values[i]);
            rounded[i] = (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
        }
        return rounded;
    }

    private static float[] FromBFloat16(ReadOnlySpan<ushort> values)
    {
        var wide = new float[values.Length];
        for (int i = 0; i < values.Length; i++)
            wide[i] = BitConverter.UInt32BitsToSingle((uint)values[i] << 16);
        return wide;
    }
}
