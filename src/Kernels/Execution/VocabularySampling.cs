using System.Runtime.ExceptionServices;
using Cluster.Kernels.Models;
using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Execution;

/// <summary>
/// Samples where the tensor ranks of the last stage hold parts of the vocabulary. Rows that need nothing but the best token are
/// reduced on every rank and merged by rank 0; of the others rank 0 gets all logits, puts them together by token id and does
/// with them what one shard does: the same bits. Every rank runs this with the same batch.
/// </summary>
internal sealed class VocabularySampling
{
    private readonly DecoderModel _model;
    private readonly Share[] _shares;
    private readonly RowSampling _sampling;
    private readonly RowReader _findBest;
    private readonly int[] _order;
    private readonly int[] _rows;
    private readonly LogitRequest[] _requests;
    private readonly LogitResult[] _results;
    private readonly TokenBest[] _best;
    private readonly TokenBest[] _theirs;
    private readonly float[] _slice;
    private Sampler[] _samplers = [];

    /// <param name="model">A part of the vocabulary.</param>
    /// <param name="sampling">Samples rows of whole logits.</param>
    /// <param name="maxRows">Most rows of a step.</param>
    public VocabularySampling(DecoderModel model, RowSampling sampling, int maxRows)
    {
        _model = model;
        _sampling = sampling;
        TensorPartition own = model.Part.Tensor;
        _shares = [.. Enumerable.Range(0, own.Size).Select(rank => TensorPartition.VocabularyOf(model.Config, rank, own.Size))];
        int tile = model.Workspace.LogitTile;
        _order = new int[maxRows];
        _rows = new int[tile];
        _requests = new LogitRequest[tile];
        _results = new LogitResult[tile];
        _best = new TokenBest[tile];
        _theirs = new TokenBest[tile];
        _slice = own.Rank == 0 ? new float[tile * _shares.Max(share => share.Count)] : [];
        _findBest = FindBest;
    }

    /// <summary>results[i] = what is asked of the i-th logit row; on rank 0. The others pass none.</summary>
    /// <exception cref="NonFiniteLogitException">The model gave NaN or infinity. The ranks are in step nonetheless.</exception>
    public void Choose(IDeviceOps ops, ForwardBatch batch, TensorRanks ranks, Span<LogitResult> results)
    {
        int best = Sort(batch);
        ExceptionDispatchInfo? failure = null;
        for (int start = 0, count; start < batch.LogitRows.Length; start += count)
        {
            bool bestOnly = start < best;
            count = Math.Min(_rows.Length, (bestOnly ? best : batch.LogitRows.Length) - start);
            Take(batch, start, count);
            _model.ComputeLogits(_rows.AsSpan(0, count));
            try
            {
                if (bestOnly)
                    ChooseBest(ops, count, ranks);
                else
                    ChooseMerged(ops, count, ranks);
            }
            catch (NonFiniteLogitException e)
            {
                failure ??= ExceptionDispatchInfo.Capture(e);       // the other ranks go on with the next tile
            }
            for (int i = 0; i < count && results.Length > 0; i++)
                results[_order[start + i]] = _results[i];
        }
        failure?.Throw();
    }

    // Rows of which only the best token is wanted come first; returns how many.
    private int Sort(ForwardBatch batch)
    {
        int best = 0, others = batch.LogitRows.Length;
        for (int i = 0; i < batch.LogitRows.Length; i++)
        {
            if (Sampler.WantsBestOnly(batch.Logits[i]) && _shares[1].Start % GumbelNoise.BlockTokens == 0)
                _order[best++] = i;
            else
                _order[--others] = i;
        }
        return best;
    }

    private void Take(ForwardBatch batch, int start, int count)
    {
        for (int i = 0; i < count; i++)
            (_rows[i], _requests[i]) = (batch.LogitRows[_order[start + i]], batch.Logits[_order[start + i]]);
    }

    private void ChooseBest(IDeviceOps ops, int count, TensorRanks ranks)
    {
        if (_samplers.Length != ops.ReaderThreads)
            _samplers = NewSamplers(ops.ReaderThreads);
        ops.ReadRows(_model.Workspace.Logits!, count, _findBest);
        if (ranks.Rank > 0)
        {
            ranks.Send<TokenBest>(_best.AsSpan(0, count), ShardTraffic.Best);
            return;
        }
        for (int rank = 1; rank < ranks.Size; rank++)
        {
            ranks.Receive(rank, _theirs.AsSpan(0, count), ShardTraffic.Best);
            for (int i = 0; i < count; i++)
                _best[i] = TokenBest.Better(_best[i], _theirs[i]);
        }
        for (int i = 0; i < count; i++)
            _results[i] = new LogitResult(_best[i].Resolve(), float.NaN, []);
    }

    private Sampler[] NewSamplers(int count) =>
        [.. Enumerable.Range(0, count).Select(_ => new Sampler(_shares[_model.Part.Tensor.Rank].Count))];

    private void FindBest(int row, ReadOnlySpan<float> values, int thread) =>
        _best[row] = _samplers[thread].Best(values, _shares[_model.Part.Tensor.Rank].Start, _requests[row].Sampling!);

    private void ChooseMerged(IDeviceOps ops, int count, TensorRanks ranks)
    {
        ReadOnlySpan<float> own = ops.HostRows(_model.Workspace.Logits!, count);
        if (ranks.Rank > 0)
        {
            ranks.Send(own, ShardTraffic.Logits);
            return;
        }
        own.CopyTo(_slice);
        DeviceBuffer merged = _model.Workspace.MergedLogits!;
        Span<float> whole = ops.HostRows(merged, count);
        for (int rank = 0; rank < ranks.Size; rank++)
        {
            Share share = _shares[rank];
            if (rank > 0)
                ranks.Receive(rank, _slice.AsSpan(0, count * share.Count), ShardTraffic.Logits);
            for (int i = 0; i < count; i++)
                _slice.AsSpan(i * share.Count, share.Count).CopyTo(whole.Slice((i * merged.Columns) + share.Start, share.Count));
        }
        ops.StoreHostRows(merged, count);
        _sampling.Choose(ops, merged, _requests.AsMemory(0, count), _results.AsMemory(0, count));
    }
}
