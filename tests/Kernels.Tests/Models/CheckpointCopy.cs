using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Nodes;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.TestKit;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Makes variants of the checkpoints in tests/Checkpoints: another configuration, other stored types.</summary>
internal static class CheckpointCopy
{
    /// <summary>Copies all files of a checkpoint, then changes config.json.</summary>
    public static void WithConfig(string name, string folder, Action<JsonObject> change)
    {
        foreach (string file in Directory.EnumerateFiles(SharedData.InRepository("tests", "Checkpoints", name)))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
        string path = Path.Combine(folder, "config.json");
        JsonObject config = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        change(config);
        File.WriteAllText(path, config.ToJsonString());
    }

    /// <summary>Copies a checkpoint with the tensors that <paramref name="encode"/> gives new bytes: (name, values) to (dtype, bytes).</summary>
    public static void WithWeights(string name, string folder, Func<string, float[], (string Type, byte[] Data)> encode)
    {
        string source = SharedData.InRepository("tests", "Checkpoints", name);
        File.Copy(Path.Combine(source, "config.json"), Path.Combine(folder, "config.json"));
        using SafetensorsReader reader = SafetensorsReader.Open(source);
        var header = new JsonObject();
        using var data = new MemoryStream();
        foreach (string tensor in reader.Names)
        {
            (string type, byte[] bytes) = encode(tensor, Values(reader.Tensor(tensor)));
            header[tensor] = new JsonObject
            {
                ["dtype"] = type,
                ["shape"] = JsonSerializer.SerializeToNode(reader.Shape(tensor)),
                ["data_offsets"] = new JsonArray(data.Length, data.Length + bytes.Length),
            };
            data.Write(bytes);
        }
        Save(folder, header, data.ToArray());
    }

    /// <summary>Writes fp32 tensors.</summary>
    public static void WriteWeights(string folder, IEnumerable<(string Name, int[] Shape, float[] Values)> tensors)
    {
        var header = new JsonObject();
        using var data = new MemoryStream();
        foreach ((string name, int[] shape, float[] values) in tensors)
        {
            long bytes = sizeof(float) * (long)values.Length;
            header[name] = new JsonObject { ["dtype"] = "F32", ["shape"] = JsonSerializer.SerializeToNode(shape), ["data_offsets"] = new JsonArray(data.Length, data.Length + bytes) };
            data.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values));
        }
        Save(folder, header, data.ToArray());
    }

    private static void Save(string folder, JsonObject header, byte[] data)
    {
        byte[] text = JsonSerializer.SerializeToUtf8Bytes(header), length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, text.Length);
        File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), [.. length, .. text, .. data]);
    }

    private static float[] Values(HostTensor tensor)
    {
        var values = new float[tensor.Length];
        for (int row = 0; row < tensor.Rows; row++)
            tensor.ReadRow(row, values.AsSpan(row * tensor.Columns));
        return values;
    }
}
