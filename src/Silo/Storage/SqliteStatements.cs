using Microsoft.Data.Sqlite;

namespace Cluster.Silo.Storage;

/// <summary>The prepared statements of <see cref="SqliteStore"/>; used by its thread only.</summary>
internal sealed class SqliteStatements : IDisposable
{
    private readonly SqliteCommand _read;
    private readonly SqliteCommand _version;
    private readonly SqliteCommand _write;
    private readonly SqliteCommand _delete;

    public SqliteStatements(SqliteConnection connection)
    {
        _read = Prepare(connection, "SELECT version, crc, payload FROM state WHERE name = $name AND grain = $grain");
        _version = Prepare(connection, "SELECT version FROM state WHERE name = $name AND grain = $grain");
        _write = Prepare(connection, "INSERT OR REPLACE INTO state (name, grain, version, crc, payload) VALUES ($name, $grain, $version, $crc, $payload)");
        _write.Parameters.Add("$version", SqliteType.Integer);
        _write.Parameters.Add("$crc", SqliteType.Integer);
        _write.Parameters.Add("$payload", SqliteType.Blob);
        _delete = Prepare(connection, "DELETE FROM state WHERE name = $name AND grain = $grain");
    }

    /// <summary>Binds all statements to the running transaction.</summary>
    public void Use(SqliteTransaction transaction)
    {
        foreach (SqliteCommand command in (ReadOnlySpan<SqliteCommand>)[_read, _version, _write, _delete])
            command.Transaction = transaction;
    }

    public long LastVersion()
    {
        using SqliteCommand command = _read.Connection!.CreateCommand();
        command.CommandText = "SELECT coalesce(max(version), 0) FROM state";
        return (long)command.ExecuteScalar()!;
    }

    public long? Version(string name, string grain)
    {
        SetKey(_version, name, grain);
        return (long?)_version.ExecuteScalar();
    }

    public (long Version, uint Crc, byte[] Payload)? Read(string name, string grain)
    {
        SetKey(_read, name, grain);
        using SqliteDataReader reader = _read.ExecuteReader();
        return reader.Read()
            ? (reader.GetInt64(0), (uint)reader.GetInt64(1), reader.GetFieldValue<byte[]>(2))
            : null;
    }

    public void Write(string name, string grain, long version, uint crc, byte[] payload)
    {
        SetKey(_write, name, grain);
        _write.Parameters["$version"].Value = version;
        _write.Parameters["$crc"].Value = (long)crc;
        _write.Parameters["$payload"].Value = payload;
        _write.ExecuteNonQuery();
    }

    public void Delete(string name, string grain)
    {
        SetKey(_delete, name, grain);
        _delete.ExecuteNonQuery();
    }

    public void Dispose()
    {
        _read.Dispose();
        _version.Dispose();
        _write.Dispose();
        _delete.Dispose();
    }

    private static SqliteCommand Prepare(SqliteConnection connection, string sql)
    {
        SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        command.Parameters.Add("$name", SqliteType.Text);
        command.Parameters.Add("$grain", SqliteType.Text);
        return command;
    }

    private static void SetKey(SqliteCommand command, string name, string grain)
    {
        command.Parameters["$name"].Value = name;
        command.Parameters["$grain"].Value = grain;
    }
}

/// <summary>SQLite result codes that mean damage.</summary>
internal static class SqliteErrors
{
    public const int Corrupt = 11;
    public const int NotADatabase = 26;
}
