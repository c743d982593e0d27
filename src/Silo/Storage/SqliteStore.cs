using System.Collections.Concurrent;
using System.IO.Hashing;
using Microsoft.Data.Sqlite;

namespace Cluster.Silo.Storage;

/// <summary>
/// The embedded durable store of one silo: a table of (state name, grain id) to (version, payload) in one SQLite file,
/// write-ahead logged and synchronous, with a checksum per row.
/// </summary>
/// <remarks>
/// One thread owns the only connection. It takes whatever has queued up since the last commit as one transaction and
/// completes the callers after the commit (group commit): a single writer pays one fsync, a thousand concurrent writers
/// share one. An acknowledged write therefore survives a kill of the process and a power loss. Versions are checked
/// inside the transaction, so a stale writer is told and never overwrites.
/// </remarks>
internal sealed class SqliteStore : IDisposable
{
    private const int MaxOperationsPerCommit = 1024;
    private const int BusyTimeoutMilliseconds = 5000;

    private readonly BlockingCollection<Operation> _operations = new(new ConcurrentQueue<Operation>());
    private readonly SqliteConnection _connection;
    private readonly Thread _writer;
    private readonly SqliteStatements _statements;

    // Versions are unique in the whole store, so that a row deleted and written again never repeats one.
    private long _lastVersion;

    private SqliteStore(string file, SqliteConnection connection)
    {
        File = file;
        _connection = connection;
        _statements = new SqliteStatements(connection);
        _lastVersion = _statements.LastVersion();
        _writer = new Thread(Run) { IsBackground = true, Name = "store" };
        _writer.Start();
    }

    /// <summary>Path of the database file.</summary>
    public string File { get; }

    /// <summary>Opens or creates the store.</summary>
    /// <exception cref="StoreDamagedException">The file is not a sound database.</exception>
    public static SqliteStore Open(string file)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(file))!);
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = file, Pooling = false }.ToString());
        try
        {
            connection.Open();
            Execute(connection, $"PRAGMA busy_timeout={BusyTimeoutMilliseconds}");
            CheckIntegrity(connection, file);
            Execute(connection, "PRAGMA journal_mode=WAL");
            Execute(connection, "PRAGMA synchronous=FULL");
            Execute(connection, "PRAGMA wal_autocheckpoint=4000");
            Execute(connection, """
                CREATE TABLE IF NOT EXISTS state (
                    name TEXT NOT NULL, grain TEXT NOT NULL, version INTEGER NOT NULL, crc INTEGER NOT NULL, payload BLOB NOT NULL,
                    PRIMARY KEY (name, grain)) WITHOUT ROWID
                """);
            return new SqliteStore(file, connection);
        }
        catch (SqliteException exception) when (exception.SqliteErrorCode is SqliteErrors.Corrupt or SqliteErrors.NotADatabase)
        {
            connection.Dispose();
            throw new StoreDamagedException(file, exception.Message, exception);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Reads a row; null when there is none.</summary>
    /// <exception cref="StoreDamagedException">The row's payload does not match its checksum.</exception>
    public Task<StoredRow?> ReadAsync(string name, string grain) => Enqueue(new Operation(OperationKind.Read, name, grain));

    /// <summary>Writes a row and returns its new version.</summary>
    /// <param name="name">State name.</param>
    /// <param name="grain">Grain id.</param>
    /// <param name="expected">Version that the writer has read; null = the row must not exist.</param>
    /// <param name="payload">Content; not copied, must not change until the task ends.</param>
    /// <exception cref="VersionConflictException">The stored version is another one.</exception>
    public async Task<long> WriteAsync(string name, string grain, long? expected, byte[] payload) =>
        (await Enqueue(new Operation(OperationKind.Write, name, grain) { Expected = expected, Payload = payload }).ConfigureAwait(false))!.Version;

    /// <summary>Deletes a row; nothing happens when neither writer nor store has one.</summary>
    /// <exception cref="VersionConflictException">The stored version is another one.</exception>
    public Task DeleteAsync(string name, string grain, long? expected) =>
        Enqueue(new Operation(OperationKind.Delete, name, grain) { Expected = expected });

    /// <summary>Finishes queued work and closes the file.</summary>
    public void Dispose()
    {
        if (_operations.IsAddingCompleted)
            return;
        _operations.CompleteAdding();
        _writer.Join();
        _statements.Dispose();
        _connection.Dispose();
    }

    private Task<StoredRow?> Enqueue(Operation operation)
    {
        try
        {
            _operations.Add(operation);
        }
        catch (InvalidOperationException exception)
        {
            throw new ObjectDisposedException("The embedded store is closed.", exception);
        }
        return operation.Completion.Task;
    }

    private void Run()
    {
        var batch = new List<Operation>();
        foreach (Operation first in _operations.GetConsumingEnumerable())
        {
            batch.Clear();
            batch.Add(first);
            while (batch.Count < MaxOperationsPerCommit && _operations.TryTake(out Operation? next))
                batch.Add(next);
            Commit(batch);
        }
    }

    // Either the whole batch is in the file when a caller hears of success, or every caller of the batch hears the error.
    private void Commit(List<Operation> batch)
    {
        try
        {
            using SqliteTransaction transaction = _connection.BeginTransaction(deferred: batch.TrueForAll(operation => operation.Kind == OperationKind.Read));
            foreach (Operation operation in batch)
                Apply(operation, transaction);
            transaction.Commit();
        }
        catch (Exception exception)
        {
            var failure = new StoreUnavailableException(File, exception);
            foreach (Operation operation in batch)
                operation.Completion.TrySetException(failure);
            return;
        }
        foreach (Operation operation in batch)
            operation.Complete();
    }

    private void Apply(Operation operation, SqliteTransaction transaction)
    {
        _statements.Use(transaction);
        if (operation.Kind == OperationKind.Read)
        {
            operation.Row = ReadRow(operation);
            return;
        }
        long? stored = _statements.Version(operation.Name, operation.Grain);
        if (stored != operation.Expected)
        {
            operation.Error = new VersionConflictException(operation.Name, operation.Grain, operation.Expected, stored);
            return;
        }
        if (operation.Kind == OperationKind.Delete)
        {
            _statements.Delete(operation.Name, operation.Grain);
            return;
        }
        long version = ++_lastVersion;
        _statements.Write(operation.Name, operation.Grain, version, Crc32.HashToUInt32(operation.Payload), operation.Payload);
        operation.Row = new StoredRow(version, operation.Payload);
    }

    private StoredRow? ReadRow(Operation operation)
    {
        if (_statements.Read(operation.Name, operation.Grain) is not var (version, crc, payload))
            return null;
        if (Crc32.HashToUInt32(payload) != crc)
            operation.Error = new StoreDamagedException(File, $"the checksum of {operation.Name} of {operation.Grain} does not match its {payload.Length} bytes");
        return new StoredRow(version, payload);
    }

    private static void CheckIntegrity(SqliteConnection connection, string file)
    {
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = "PRAGMA quick_check(1)";
        if (command.ExecuteScalar() is string result && result != "ok")
            throw new StoreDamagedException(file, result);
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private enum OperationKind
    {
        Read,
        Write,
        Delete,
    }

    private sealed class Operation(OperationKind kind, string name, string grain)
    {
        public OperationKind Kind { get; } = kind;
        public string Name { get; } = name;
        public string Grain { get; } = grain;
        public long? Expected { get; init; }
        public byte[] Payload { get; init; } = [];
        public StoredRow? Row { get; set; }
        public Exception? Error { get; set; }
        public TaskCompletionSource<StoredRow?> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Complete()
        {
            if (Error is null)
                Completion.TrySetResult(Row);
            else
                Completion.TrySetException(Error);
        }
    }
}

/// <summary>A row as it is stored.</summary>
internal sealed record StoredRow(long Version, byte[] Payload);
