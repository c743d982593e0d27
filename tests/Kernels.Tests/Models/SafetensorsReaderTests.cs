using System.Buffers.Binary;
using System.Text;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.TestKit;
using Cluster.TestKit.Processes;
using CsCheck;

namespace Cluster.Kernels.Tests.Models;

public sealed class SafetensorsReaderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Reads_every_stored_type()
    {
        byte[] data =
        [
            .. BitConverter.GetBytes(1.5f), .. BitConverter.GetBytes(-2f),          // F32 [2]
            0xC0, 0x3F, 0x00, 0xC0, 0x80, 0x3F, 0x00, 0x00,                         // BF16 [2, 2]: 1.5 -2 / 1 0
            .. BitConverter.GetBytes((Half)0.25f), .. BitConverter.GetBytes((Half)(-8)),    // F16 [2, 1]
            .. BitConverter.GetBytes(-7),                                           // I32 [1]
        ];
        using SafetensorsReader reader = Open("""
            {"__metadata__":{"format":"pt"},
             "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "b":{"dtype":"BF16","shape":[2,2],"data_offsets":[8,16]},
             "c":{"dtype":"F16","shape":[2,1],"data_offsets":[16,20]}, "d":{"dtype":"I32","shape":[1],"data_offsets":[20,24]},
             "empty":{"dtype":"F32","shape":[0,5],"data_offsets":[24,24]}}
            """, data);
        Assert.Equal(["a", "b", "c", "d", "empty"], reader.Names.Order());
        Assert.Equal([1.5f, -2], Row(reader.Vector("a", 2), 0));
        Assert.Equal([1, 0], Row(reader.Matrix("b", 2, 2), 1));
        Assert.Equal([-2f], Row(reader.Matrix("b", 2, 2).ColumnRange(1, 1), 0));
        Assert.Equal([-8f], Row(reader.Matrix("c", 2, 1).RowRange(1, 1), 0));
        Assert.Equal(DType.Int32, reader.Tensor("d").Type);
    }

    public static TheoryData<string, string> HostileHeaders => new()
    {
        { "[]", "header" },
        { "{\"a\":", "header" },
        { "\"text\"", "header" },
        { "{\"a\":3}", "tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}} trailing", "header" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[8,8]}}", "header entry a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", "tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4,8]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", "tensor a: dtype" },
        { "{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", "tensor a: dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "tensor a: dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"strides\":[1]}}", "tensor a: strides" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "tensor a: shape" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", "tensor a: shape" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", "tensor a: shape" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,9223372036854775807,9223372036854775807,4],\"data_offsets\":[0,8]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[18446744073709551608,18446744073709551616]}}", "tensor a: data_offsets" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "tensor a: data_offsets" },                                   // a gap before
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "tensor b: data_offsets" },   // an overlap
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "data" },                                                     // bytes left over
        { "{\"__metadata__\":[],\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "__metadata__" },
        { new string('[', 100), "header" },
    };

    [Theory]
    [MemberData(nameof(HostileHeaders))]
    public void A_hostile_header_is_refused_by_name(string header, string field)
    {
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => Open(header, new byte[8]));
        Assert.Equal(field, error.Field);
        Assert.Equal("model.safetensors", error.File);
        Assert.Contains(error.Limit, error.Message);
        Assert.Contains(error.Actual, error.Message);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    public void A_file_shorter_than_its_length_field_is_refused(int bytes)
    {
        File.WriteAllBytes(_folder.File("model.safetensors"), new byte[bytes]);
        Assert.Equal("file", Assert.Throws<CheckpointFormatException>(() => SafetensorsReader.Open(_folder.Path)).Field);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(100_000_001UL)]
    [InlineData(1UL << 40)]
    [InlineData(ulong.MaxValue)]
    public void A_header_length_beyond_file_or_format_is_refused(ulong length)
    {
        byte[] bytes = new byte[64];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        File.WriteAllBytes(_folder.File("model.safetensors"), bytes);
        Assert.Equal("header length", Assert.Throws<CheckpointFormatException>(() => SafetensorsReader.Open(_folder.Path)).Field);
    }

    [Fact]
    public void A_truncated_file_is_refused_at_every_length()
    {
        byte[] whole = File.ReadAllBytes(SharedData.InRepository("tests", "Checkpoints", "llama_tied", "model-00003-of-00003.safetensors"));
        for (int length = 0; length < whole.Length; length += length < 4000 ? 37 : 1999)
        {
            File.WriteAllBytes(_folder.File("model.safetensors"), whole[..length]);
            Assert.Throws<CheckpointFormatException>(() => SafetensorsReader.Open(_folder.Path));
        }
    }

    [Fact]
    public void Flipped_bits_never_read_out_of_bounds()
    {
        byte[] whole = File.ReadAllBytes(SharedData.InRepository("tests", "Checkpoints", "llama_bf16", "model.safetensors"));
        int header = (int)BinaryPrimitives.ReadUInt64LittleEndian(whole);
        string path = _folder.File("model.safetensors");
        Gen.Int[0, (8 + header) * 8 - 1].Array[1, 6].Sample(flips =>
        {
            byte[] bytes = [.. whole];
            foreach (int bit in flips)
                bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            File.WriteAllBytes(path, bytes);
            ReadEverything();
        }, iter: 300, threads: 1);
    }

    [Fact]
    public void A_missing_tensor_and_another_shape_are_named()
    {
        using SafetensorsReader reader = Open("{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", new byte[8]);
        Assert.Equal("tensor b", Assert.Throws<CheckpointFormatException>(() => reader.Vector("b", 1)).Field);
        CheckpointFormatException shape = Assert.Throws<CheckpointFormatException>(() => reader.Vector("a", 2));
        Assert.Equal(("tensor a: shape", "[2]", "[1]"), (shape.Field, shape.Limit, shape.Actual));
        Assert.Equal("F64", Assert.Throws<CheckpointFormatException>(() => reader.Vector("a", 1)).Actual);
    }

    [Fact]
    public void A_folder_without_weights_is_refused() =>
        Assert.Equal("weights", Assert.Throws<CheckpointFormatException>(() => SafetensorsReader.Open(_folder.Path)).Field);

    [Theory]
    [InlineData("../outside.safetensors")]
    [InlineData("/etc/passwd")]
    [InlineData("..\\outside.safetensors")]
    [InlineData("sub/inside.safetensors")]
    [InlineData("C:evil.safetensors")]
    [InlineData(".hidden.safetensors")]
    [InlineData("model.bin")]
    [InlineData("")]
    public void An_index_cannot_lead_out_of_its_folder(string shard)
    {
        File.WriteAllText(_folder.File("model.safetensors.index.json"), "{\"weight_map\":{\"a\":" + System.Text.Json.JsonSerializer.Serialize(shard) + "}}");
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => SafetensorsReader.Open(_folder.Path));
        Assert.Equal("weight_map: a", error.Field);
        Assert.Equal(shard, error.Actual);
    }

    [Theory]
    [InlineData("{}", "weight_map")]
    [InlineData("[]", "weight_map")]
    [InlineData("{\"weight_map\":[]}", "weight_map")]
    [InlineData("{\"weight_map\":{\"a\":3}}", "weight_map: a")]
    [InlineData("{\"weight_map\":{\"a\":\"gone.safetensors\"}}", "weight_map: a")]
    [InlineData("{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}}", "line 1")]
    [InlineData("{\"weight_map\":{\"\\udc00\":\"a.safetensors\"}}", "text")]
    [InlineData("not json", "line 1")]
    public void A_bad_index_is_refused_by_name(string index, string field)
    {
        File.WriteAllText(_folder.File("model.safetensors.index.json"), index);
        Assert.Equal(field, Assert.Throws<CheckpointFormatException>(() => SafetensorsReader.Open(_folder.Path)).Field);
    }

    [Fact]
    public void A_shard_without_the_tensor_that_the_index_promises_is_refused()
    {
        Write("part.safetensors", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", new byte[8]);
        File.WriteAllText(_folder.File("model.safetensors.index.json"), "{\"weight_map\":{\"a\":\"part.safetensors\",\"b\":\"part.safetensors\"}}");
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => SafetensorsReader.Open(_folder.Path));
        Assert.Equal(("part.safetensors", "tensor b"), (error.File, error.Field));
    }

    [Fact]
    public void A_very_long_name_does_not_fill_the_message()
    {
        string name = new('n', 100_000);
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => Open($"{{\"{name}\":3}}", new byte[8]));
        Assert.InRange(error.Message.Length, 1, 1000);
    }

    private void ReadEverything()
    {
        try
        {
            using SafetensorsReader reader = SafetensorsReader.Open(_folder.Path);
            foreach (string name in reader.Names)
            {
                HostTensor tensor = reader.Tensor(name);
                var row = new float[tensor.Columns];
                for (int i = 0; i < tensor.Rows && tensor.Type != DType.Int32; i++)
                    tensor.ReadRow(i, row);
            }
        }
        catch (CheckpointFormatException)
        {
            // The other good outcome.
        }
    }

    private SafetensorsReader Open(string header, byte[] data)
    {
        Write("model.safetensors", header, data);
        return SafetensorsReader.Open(_folder.Path);
    }

    private void Write(string name, string header, byte[] data)
    {
        byte[] text = Encoding.UTF8.GetBytes(header);
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, text.Length);
        File.WriteAllBytes(_folder.File(name), [.. length, .. text, .. data]);
    }

    private static float[] Row(HostTensor tensor, int row)
    {
        var values = new float[tensor.Columns];
        tensor.ReadRow(row, values);
        return values;
    }
}
