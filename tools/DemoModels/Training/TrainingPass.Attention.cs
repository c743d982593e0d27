using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

internal sealed unsafe partial class TrainingPass
{
    /// <summary>Heads side by side [tokens, heads * headDim] of stacked q, k, v rows.</summary>
    private Tensor Attend(Layer layer, Tensor stacked, int length)
    {
        int tokens = (int)stacked.shape[0], dim = _shape.HeadDim, groups = tokens / length * _shape.KeyValueHeads;
        int shared = _shape.Heads / _shape.KeyValueHeads;
        layer.Queries = empty(groups, shared * length, dim, ScalarType.BFloat16);
        layer.Keys = empty(groups, length, dim, ScalarType.BFloat16);
        layer.Values = empty(groups, length, dim, ScalarType.BFloat16);
        MoveHeads(stacked, layer.Queries, layer.Keys, layer.Values, length, forward: true);
        layer.Probabilities = layer.Queries.bmm(layer.Keys.transpose(1, 2));
        ushort* scores = Address(layer.Probabilities);
        ForRows((long)groups * shared * length, row =>
        {
            float* scratch = stackalloc float[length];
            RowKernels.CausalSoftmax(scores + row * length, (int)(row % length) + 1, length, scratch);
        });
        Tensor heads = layer.Probabilities.bmm(layer.Values), mixed = empty(tokens, _shape.QueryRows, ScalarType.BFloat16);
        MoveQueries(mixed, heads, length, toHeads: false);
        return mixed;
    }

    /// <summary>Gradient of the stacked q, k, v rows.</summary>
    private Tensor AttendBackward(Layer layer, Tensor mixedSlope, int length)
    {
        Tensor headSlope = empty_like(layer.Queries!);
        MoveQueries(mixedSlope, headSlope, length, toHeads: true);
        Tensor values = layer.Probabilities!.transpose(1, 2).bmm(headSlope);
        Tensor scores = headSlope.bmm(layer.Values!.transpose(1, 2));
        ushort* probabilities = Address(layer.Probabilities), slope = Address(scores);
        ForRows(scores.numel() / length, row =>
            RowKernels.SoftmaxBackward(probabilities + row * length, slope + row * length, (int)(row % length) + 1, length));
        Tensor queries = scores.bmm(layer.Keys!), keys = scores.transpose(1, 2).bmm(layer.Queries!);
        Tensor stacked = empty(mixedSlope.shape[0], _shape.QueryRows + 2 * _shape.KeyValueRows, ScalarType.BFloat16);
        MoveHeads(stacked, queries, keys, values, length, forward: false);
        return stacked;
    }

    /// <summary>
    /// Forward: rotates q and k of token rows and lays heads out one after the other, q scaled by 1/sqrt(headDim).
    /// Backward: the same way back for gradients.
    /// </summary>
    private void MoveHeads(Tensor stacked, Tensor queries, Tensor keys, Tensor values, int length, bool forward)
    {
        int dim = _shape.HeadDim, half = dim / 2, shared = _shape.Heads / _shape.KeyValueHeads, width = (int)stacked.shape[1];
        float scale = 1 / MathF.Sqrt(dim), turn = forward ? 1 : -1;
        ushort* rows = Address(stacked), q = Address(queries), k = Address(keys), v = Address(values);
        fixed (float* cosineTable = _cosines, sineTable = _sines)
        {
            float* cosines = cosineTable, sines = sineTable;
            void Move(ushort* row, ushort* head, long position, float factor)
            {
                ushort* from = forward ? row : head, to = forward ? head : row;
                RowKernels.Rotate(from, to, cosines + position * half, sines + position * half, half, factor, turn);
            }
            ForRows(stacked.shape[0], token =>
            {
                long sequence = token / length, position = token % length;
                ushort* row = rows + token * width;
                for (int head = 0; head < _shape.Heads; head++)
                {
                    long at = ((sequence * _shape.KeyValueHeads + head / shared) * shared + head % shared) * length + position;
                    Move(row + head * dim, q + at * dim, position, scale);
                }
                for (int head = 0; head < _shape.KeyValueHeads; head++)
                {
                    long at = ((sequence * _shape.KeyValueHeads + head) * length + position) * dim;
                    ushort* key = row + _shape.QueryRows + head * dim, value = key + _shape.KeyValueRows;
                    Move(key, k + at, position, 1);
                    ushort* from = forward ? value : v + at, to = forward ? v + at : value;
                    new Span<ushort>(from, dim).CopyTo(new Span<ushort>(to, dim));
                }
            });
        }
    }

    /// <summary>Copies query heads between token rows and head-major rows.</summary>
    private void MoveQueries(Tensor rows, Tensor heads, int length, bool toHeads)
    {
        int dim = _shape.HeadDim, shared = _shape.Heads / _shape.KeyValueHeads;
        ushort* row = Address(rows), head = Address(heads);
        ForRows(rows.shape[0], token =>
        {
            for (int h = 0; h < _shape.Heads; h++)
            {
                long group = token / length * _shape.KeyValueHeads + h / shared;
                ushort* one = row + token * _shape.QueryRows + h * dim;
                ushort* other = head + ((group * shared + h % shared) * length + token % length) * dim;
                ushort* from = toHeads ? one : other, to = toHeads ? other : one;
                new Span<ushort>(from, dim).CopyTo(new Span<ushort>(to, dim));
            }
        });
    }

    private (float[] Cosines, float[] Sines) Angles()
    {
        int half = _shape.HeadDim / 2;
        var cosines = new float[_shape.MaxPositions * half];
        var sines = new float[cosines.Length];
        for (int i = 0; i < cosines.Length; i++)
        {
            double angle = i / half * Math.Pow(ModelShape.RopeTheta, -(double)(i % half) / half);
            (cosines[i], sines[i]) = ((float)Math.Cos(angle), (float)Math.Sin(angle));
        }
        return (cosines, sines);
    }
}
