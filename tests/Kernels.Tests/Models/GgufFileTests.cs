using System.Text;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Models.Gguf;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Files written byte by byte from the specification, good and bad.</summary>
public sealed class GgufFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(2u)]
    [InlineData(3u)]
    public void All_value_types_are_read(uint version)
    {
        using GgufFile file = Open(new Bytes(version).Value("u8", 0, w => w.Write((byte)200)).Value("i8", 1, w => w.Write((sbyte)-3))
            .Value("u16", 2, w => w.Write((ushort)60000)).Value("i16", 3, w => w.Write((short)-300)).Value("u32", 4, w => w.Write(4_000_000_000u))
            .Value("i32", 5, w => w.Write(-70000)).Value("f32", 6, w => w.Write(0.5f)).Value("bool", 7, w => w.Write((byte)1)).Text("text", "häh")
            .Value("u64", 10, w => w.Write(1ul << 40)).Value("i64", 11, w => w.Write(-5L)).Value("f64", 12, w => w.Write(0.1))
            .Value("texts", 9, w => Strings(w, "a", "", "ß")).Value("numbers", 9, w => Array(w, 5, 3, 1, 2, 3)).Value("same", 9, w => Array(w, 4, 2, 8, 8))
            .Value("nested", 9, w => { w.Write(9u); w.Write(1ul); Array(w, 5, 1, 4); }));
        GgufFields fields = file.Fields;
        Assert.Equal((200, -3, 60000, -300, -70000, -5), (Whole("u8"), Whole("i8"), Whole("u16"), Whole("i16"), Whole("i32"), Whole("i64")));
        Assert.Equal((4e9, 0.5, Math.Pow(2, 40), 0.1), (Real("u32"), Real("f32"), Real("u64"), Real("f64")));
        Assert.True(fields.Flag("bool", false));
        Assert.Equal("häh", fields.Text("text"));
        Assert.Equal(["a", "", "ß"], fields.Texts("texts")!);
        Assert.Equal([1f, 2, 3], fields.Numbers("numbers")!);
        Assert.Equal(8, Whole("same"));
        Assert.Null(fields.Text("absent"));
        Assert.Equal(16, fields.Keys.Count);
        foreach ((Action read, string problem) in ((Action, string)[])[(() => fields.Text("u8"), "UInt8"), (() => Whole("text"), "Text"), (() => Whole("numbers"), "1 and 2"),
            (() => Whole("u64"), "1099511627776"), (() => Whole("f32"), "0.5"), (() => fields.Flag("u8", true), "UInt8"), (() => fields.Texts("numbers"), "Int32"), (() => fields.Numbers("text"), "Text"),
            (() => Whole("absent"), "missing")])
            Assert.Contains(problem, Assert.Throws<CheckpointFormatException>(read).Message);

        int Whole(string key) => fields.Integer(key, -100_000, 1_000_000);
        double Real(string key) => fields.Number(key, 0, 1e15);
    }

    [Fact]
    public void Tensors_lie_where_the_directory_says()
    {
        using GgufFile file = Open(new Bytes().Value("general.alignment", 4, w => w.Write(64u)).Tensor("a", 0, 0, 3).Tensor("b", 8, 64, 32, 2).Data(64 + 68));
        Assert.Equal(["a", "b"], file.Tensors.Keys);
        GgufTensor b = file.Tensors["b"];
        Assert.Equal((DType.Q8_0, 68L, 0L), (b.Type, b.Bytes, b.Position % 64));
        Assert.Equal([2L, 32], b.Shape);
        Assert.Equal(64, b.Position - file.Tensors["a"].Position);
    }

    public static TheoryData<string, string> Broken => new()
    {
        { "magic", "GGUF" }, { "big-endian", "little-endian" }, { "version 1", "2 or 3" }, { "short", "at least 24 bytes" }, { "key length", "metadata key 0" },
        { "text length", "within the file" }, { "array count", "within the file" }, { "array of texts", "within the file" }, { "value type", "type 13" }, { "depth", "nested at most" },
        { "twice", "there twice" }, { "utf8", "valid UTF-8" }, { "tensor count", "tensor 0: name" }, { "value count", "metadata key 0" }, { "split", "gguf-split" }, { "alignment", "general.alignment" },
        { "dimensions", "1..4" }, { "size zero", "sizes 1.." }, { "size huge", "sizes 1.." }, { "overflow", "bytes of data" }, { "type Q5_K", "Q5_K" }, { "type 99", "number 99" }, { "half block", "whole Q4_K blocks" },
        { "offset", "a multiple of 32" }, { "offset beyond", "bytes of data" }, { "data", "bytes of data" }, { "overlap", "behind the data" }, { "same name", "there twice" },
    };

    [Theory]
    [MemberData(nameof(Broken))]
    public void Damage_is_named(string damage, string mentions)
    {
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => Open(Damage(damage)));
        Assert.Contains(mentions, error.Message);
        Assert.Equal("model.gguf", error.File);
    }

    [Fact]
    public void A_file_cut_anywhere_or_changed_in_any_byte_of_its_head_is_read_or_refused()
    {
        byte[] whole = new Bytes().Text("general.architecture", "llama").Value("texts", 9, w => Strings(w, "a", "bc")).Value("numbers", 9, w => Array(w, 5, 2, 1, 2))
            .Tensor("a", 0, 0, 4).Tensor("b", 2, 32, 32, 2).Data(32 + 36).ToArray();
        for (int length = 0; length < whole.Length; length++)
            Assert.Throws<CheckpointFormatException>(() => Open(whole[..length]));
        var random = new Random(11);
        for (int i = 0; i < 2000; i++)
        {
            byte[] changed = [.. whole];
            changed[random.Next(whole.Length - 68)] ^= (byte)(1 << random.Next(8));
            try
            {
                using GgufFile file = Open(changed);
                Assert.All(file.Tensors.Values, tensor => Assert.InRange(tensor.Position + tensor.Bytes, 1, changed.Length));
            }
            catch (CheckpointFormatException)
            {
            }
        }
    }

    private static Bytes Damage(string damage) => damage switch
    {
        "magic" => new Bytes().Patch(0, 1),
        "big-endian" => new Bytes(3u << 24),
        "version 1" => new Bytes(1),
        "short" => new Bytes { Cut = 23 },
        "key length" => new Bytes().Value("", 4, w => w.Write(1u)),
        "text length" => new Bytes().Value("k", 8, w => w.Write(1ul << 50)),
        "array count" => new Bytes().Value("k", 9, w => { w.Write(5u); w.Write(ulong.MaxValue); }),
        "array of texts" => new Bytes().Value("k", 9, w => { w.Write(8u); w.Write(ulong.MaxValue); }),
        "value type" => new Bytes().Value("k", 13, w => w.Write(1u)),
        "depth" => new Bytes().Value("k", 9, w => { for (int i = 0; i < 9; i++) { w.Write(9u); w.Write(1ul); } }),
        "twice" => new Bytes().Text("k", "a").Text("k", "b"),
        "utf8" => new Bytes().Value("split.count", 4, w => w.Write(1u)).BadKey(),
        "tensor count" => new Bytes { ExtraTensors = ulong.MaxValue },
        "value count" => new Bytes { ExtraValues = 1ul << 60 },
        "split" => new Bytes().Value("split.count", 2, w => w.Write((ushort)3)),
        "alignment" => new Bytes().Value("general.alignment", 4, w => w.Write(12u)),
        "dimensions" => new Bytes().Tensor("a", 0, 0, 1, 1, 1, 1, 1),
        "size zero" => new Bytes().Tensor("a", 0, 0, 0),
        "size huge" => new Bytes().Tensor("a", 0, 0, 1L << 40),
        "overflow" => new Bytes().Tensor("a", 0, 0, int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue),
        "type Q5_K" => new Bytes().Tensor("a", 13, 0, 256),
        "type 99" => new Bytes().Tensor("a", 99, 0, 256),
        "half block" => new Bytes().Tensor("a", 12, 0, 128),
        "offset" => new Bytes().Tensor("a", 0, 16, 1).Data(64),
        "offset beyond" => new Bytes().Tensor("a", 0, 1 << 20, 1).Data(64),
        "data" => new Bytes().Tensor("a", 0, 0, 1000).Data(64),
        "overlap" => new Bytes().Tensor("a", 0, 0, 16).Tensor("b", 0, 32, 8).Data(128),
        _ => new Bytes().Tensor("a", 0, 0, 8).Tensor("a", 0, 32, 8).Data(128),
    };

    private GgufFile Open(Bytes bytes) => Open(bytes.ToArray());

    private GgufFile Open(byte[] bytes)
    {
        File.WriteAllBytes(_folder.File("model.gguf"), bytes);
        return GgufFile.Open(_folder.File("model.gguf"));
    }

    private static void Strings(BinaryWriter writer, params string[] values)
    {
        writer.Write(8u);
        writer.Write((ulong)values.Length);
        foreach (string value in values)
            Bytes.Write(writer, value);
    }

    private static void Array(BinaryWriter writer, uint type, params int[] countAndValues)
    {
        writer.Write(type);
        writer.Write((ulong)countAndValues[0]);
        foreach (int value in countAndValues[1..])
            writer.Write(value);
    }

    /// <summary>A file in the making.</summary>
    private sealed class Bytes(uint version = 3)
    {
        private readonly List<Action<BinaryWriter>> _values = [];
        private readonly List<Action<BinaryWriter>> _tensors = [];
        private (int At, byte Value)? _patch;
        private int _data;

        public int? Cut { get; init; }

        public ulong ExtraTensors { get; init; }

        public ulong ExtraValues { get; init; }

        public static void Write(BinaryWriter writer, string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            writer.Write((ulong)bytes.Length);
            writer.Write(bytes);
        }

        public Bytes Value(string key, uint type, Action<BinaryWriter> write)
        {
            _values.Add(writer =>
            {
                Write(writer, key);
                writer.Write(type);
                write(writer);
            });
            return this;
        }

        public Bytes Text(string key, string value) => Value(key, 8, writer => Write(writer, value));

        public Bytes BadKey()
        {
            _values.Add(writer =>
            {
                writer.Write(1ul);
                writer.Write((byte)0xFF);
            });
            return this;
        }

        public Bytes Tensor(string name, uint type, ulong offset, params long[] innermostFirst)
        {
            _tensors.Add(writer =>
            {
                Write(writer, name);
                writer.Write((uint)innermostFirst.Length);
                foreach (long size in innermostFirst)
                    writer.Write(size);
                writer.Write(type);
                writer.Write(offset);
            });
            return this;
        }

        public Bytes Data(int bytes)
        {
            _data = bytes;
            return this;
        }

        public Bytes Patch(int at, byte value)
        {
            _patch = (at, value);
            return this;
        }

        public byte[] ToArray()
        {
            using var stream = new MemoryStream();
            using var writer = new BinaryWriter(stream);
            writer.Write("GGUF"u8);
            writer.Write(version);
            writer.Write((ulong)_tensors.Count + ExtraTensors);
            writer.Write((ulong)_values.Count + ExtraValues);
            _values.ForEach(write => write(writer));
            _tensors.ForEach(write => write(writer));
            while (_data > 0 && stream.Length % 64 != 0)
                writer.Write((byte)0);
            writer.Write(new byte[_data]);
            byte[] bytes = stream.ToArray();
            if (_patch is { } patch)
                bytes[patch.At] = patch.Value;
            return Cut is { } length ? bytes[..length] : bytes;
        }
    }
}
