using System.Text;

namespace Cluster.Grains.Sessions;

/// <summary>The packed row of a bucket of the session index: id and due time of every session.</summary>
internal static class SessionIndexRow
{
    public static byte[] Pack(IReadOnlyCollection<KeyValuePair<string, long>> sessions)
    {
        var writer = new PackedWriter();
        writer.Number(sessions.Count);
        foreach ((string id, long due) in sessions)
        {
            writer.Block(Encoding.UTF8.GetBytes(id));
            writer.Long(due);
        }

        return writer.Written.ToArray();
    }

    /// <exception cref="InvalidDataException">The row is damaged.</exception>
    public static List<KeyValuePair<string, long>> Unpack(ReadOnlySpan<byte> row)
    {
        var reader = new PackedReader(row);
        var sessions = new List<KeyValuePair<string, long>>();
        for (int left = reader.Number(); left > 0; left--)
            sessions.Add(new(Encoding.UTF8.GetString(reader.Block()), reader.Long()));
        return sessions;
    }
}
