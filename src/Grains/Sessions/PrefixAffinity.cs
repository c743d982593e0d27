using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Which replica was last given a prompt that begins like this one, so that its prefix cache is used again. A guess of this
/// silo: what it forgets or does not know costs a prefill and nothing else. Prompts are compared in pieces of
/// <see cref="PieceTokens"/> tokens; the pieces longest unused are forgotten first. Safe for several threads.
/// </summary>
internal sealed class PrefixAffinity(int capacity)
{
    /// <summary>Tokens of a piece: two blocks of the usual size; shorter beginnings are not worth a detour.</summary>
    public const int PieceTokens = 32;

    private const int DefaultCapacity = 1 << 14;
    // Long prompts are told apart early; their tails would only push others out.
    private const int MostPieces = 64;
    private readonly Lock _lock = new();
    private readonly Dictionary<BlockHash, LinkedListNode<Piece>> _pieces = [];
    private readonly LinkedList<Piece> _byUse = [];

    /// <summary>As many pieces as a silo should remember.</summary>
    public PrefixAffinity() : this(DefaultCapacity)
    {
    }

    /// <summary>Replicas that were given a beginning of the prompt, with the tokens of the longest.</summary>
    public IReadOnlyDictionary<string, int> Match(string model, ReadOnlySpan<int> prompt)
    {
        var matches = new Dictionary<string, int>(StringComparer.Ordinal);
        lock (_lock)
        {
            BlockHash hash = BlockHash.Root(model);
            for (int piece = 0; piece < PiecesOf(prompt); piece++)
            {
                hash = BlockHash.Next(hash, prompt.Slice(piece * PieceTokens, PieceTokens), 0);
                if (!_pieces.TryGetValue(hash, out LinkedListNode<Piece>? node))
                    break;
                matches[node.Value.Replica] = (piece + 1) * PieceTokens;
            }
        }

        return matches;
    }

    /// <summary>A replica is given the prompt.</summary>
    public void Note(string model, ReadOnlySpan<int> prompt, string replica)
    {
        lock (_lock)
        {
            BlockHash hash = BlockHash.Root(model);
            for (int piece = 0; piece < PiecesOf(prompt); piece++)
            {
                hash = BlockHash.Next(hash, prompt.Slice(piece * PieceTokens, PieceTokens), 0);
                Use(hash, replica);
            }

            while (_pieces.Count > capacity)
            {
                _pieces.Remove(_byUse.Last!.Value.Hash);
                _byUse.RemoveLast();
            }
        }
    }

    private void Use(BlockHash hash, string replica)
    {
        if (_pieces.TryGetValue(hash, out LinkedListNode<Piece>? node))
            _byUse.Remove(node);
        else
            _pieces[hash] = node = new LinkedListNode<Piece>(default);
        node.Value = new Piece(hash, replica);
        _byUse.AddFirst(node);
    }

    private static int PiecesOf(ReadOnlySpan<int> prompt) => Math.Min(prompt.Length / PieceTokens, MostPieces);

    private readonly record struct Piece(BlockHash Hash, string Replica);
}
