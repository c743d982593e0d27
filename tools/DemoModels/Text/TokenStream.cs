namespace Cluster.DemoModels.Text;

/// <summary>Endless training windows: documents in a new seeded order each epoch, packed end to end, cut into windows.</summary>
internal sealed class TokenStream
{
    private readonly List<List<int>> _documents;
    private readonly int _seed;
    private int[] _order = [];
    private int _document;
    private int _offset;

    public TokenStream(IEnumerable<List<int>> documents, int seed)
    {
        _documents = [.. documents];
        _seed = seed;
        Epoch = -1;
        NextEpoch();
    }

    /// <summary>Tokens of one epoch.</summary>
    public long Length => _documents.Sum(document => (long)document.Count);

    /// <summary>Epochs completed so far.</summary>
    public int Epoch { get; private set; }

    /// <summary>Documents taken in this epoch.</summary>
    public int Position => _document;

    /// <summary>Goes to a place that <see cref="Epoch"/> and <see cref="Position"/> gave.</summary>
    public void Seek(int epoch, int position)
    {
        Epoch = epoch - 1;
        NextEpoch();
        _document = position;
    }

    /// <summary>Fills rows of inputs and of the tokens that follow each of them.</summary>
    /// <param name="inputs">[rows, length] token ids.</param>
    /// <param name="targets">[rows, length] token ids, one place further.</param>
    public void Next(long[] inputs, long[] targets, int length)
    {
        for (int row = 0; row < inputs.Length; row += length)
        {
            long current = Take();
            for (int i = 0; i < length; i++)
            {
                inputs[row + i] = current;
                targets[row + i] = current = Take();
            }
        }
    }

    private int Take()
    {
        while (_offset >= _documents[_order[_document]].Count)
        {
            _offset = 0;
            if (++_document == _order.Length)
                NextEpoch();
        }
        return _documents[_order[_document]][_offset++];
    }

    private void NextEpoch()
    {
        Epoch++;
        _order = [.. Enumerable.Range(0, _documents.Count)];
        new Random(_seed + Epoch).Shuffle(_order);
        _document = 0;
        _offset = 0;
    }
}
