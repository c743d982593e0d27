using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>Reads <c>model.merges</c>: strings <c>"left right"</c> or pairs <c>["left", "right"]</c>, best first.</summary>
internal sealed class MergeReader(TokenTable vocabulary)
{
    private readonly byte[] _left = new byte[TokenizerLimits.MaxSpellingBytes];
    private readonly byte[] _right = new byte[TokenizerLimits.MaxSpellingBytes];
    private readonly byte[] _joined = new byte[2 * TokenizerLimits.MaxSpellingBytes];

    public MergeTable Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw ModelSection.Wrong("model.merges", ref reader, "must be a list");
        var merges = new MergeTable(vocabulary.Count);
        int rank = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType == JsonTokenType.String)
                AddJoined(ref reader, merges, rank);
            else
                AddPair(ref reader, merges, rank);
            rank++;
        }

        return merges;
    }

    private void AddJoined(ref Utf8JsonReader reader, MergeTable merges, int rank)
    {
        ReadOnlySpan<byte> text = ModelSection.Spelling(ref reader, _left, rank);
        int space = text.IndexOf((byte)' ');
        if (space < 0 || text[(space + 1)..].Contains((byte)' '))
            throw ModelSection.Wrong(Field(rank), ref reader, "must be two tokens with one space between");
        Add(text[..space], text[(space + 1)..], merges, rank);
    }

    private void AddPair(ref Utf8JsonReader reader, MergeTable merges, int rank)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw ModelSection.Wrong(Field(rank), ref reader, "must be a string or a pair of strings");
        ReadOnlySpan<byte> left = NextString(ref reader, _left, rank);
        ReadOnlySpan<byte> right = NextString(ref reader, _right, rank);
        reader.Read();
        if (reader.TokenType != JsonTokenType.EndArray)
            throw ModelSection.Wrong(Field(rank), ref reader, "must be a pair");
        Add(left, right, merges, rank);
    }

    private static ReadOnlySpan<byte> NextString(ref Utf8JsonReader reader, byte[] buffer, int rank)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.String)
            throw ModelSection.Wrong(Field(rank), ref reader, "must be a pair of strings");
        return ModelSection.Spelling(ref reader, buffer, rank);
    }

    private void Add(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right, MergeTable merges, int rank)
    {
        left.CopyTo(_joined);
        right.CopyTo(_joined.AsSpan(left.Length));
        merges.Add(Id(left, rank), Id(right, rank), rank, Id(_joined.AsSpan(0, left.Length + right.Length), rank));
    }

    private int Id(ReadOnlySpan<byte> spelling, int rank)
    {
        int id = vocabulary.Find(spelling);
        return id >= 0 ? id : throw new TokenizerFormatException(
            TokenizerFiles.TokenizerJsonName, Field(rank), Encoding.UTF8.GetString(spelling), "must speak of tokens in model.vocab");
    }

    private static string Field(int rank) => $"model.merges[{rank}]";
}
