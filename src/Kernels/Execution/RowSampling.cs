using System.Runtime.ExceptionServices;
using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Execution;

/// <summary>
/// Samples the rows of a tile of logits over the host threads of the device, each with a sampler of its own. A draw is a pure
/// function of its row and request, so who draws it does not matter.
/// </summary>
internal sealed class RowSampling
{
    private readonly int _vocabulary;
    private readonly RowReader _chooseRow;
    private Sampler[] _samplers = [];
    private Exception?[] _failures = [];
    private ReadOnlyMemory<LogitRequest> _requests;
    private Memory<LogitResult> _results;

    public RowSampling(int vocabulary)
    {
        _vocabulary = vocabulary;
        _chooseRow = ChooseRow;
    }

    /// <summary>results[i] = what is asked of row i.</summary>
    /// <exception cref="NonFiniteLogitException">The model gave NaN or infinity; of several such rows the first one tells.</exception>
    public void Choose(IDeviceOps ops, DeviceBuffer logits, ReadOnlyMemory<LogitRequest> requests, Memory<LogitResult> results)
    {
        if (_samplers.Length != ops.ReaderThreads)
            _samplers = [.. Enumerable.Range(0, ops.ReaderThreads).Select(_ => new Sampler(_vocabulary))];
        if (_failures.Length < requests.Length)
            _failures = new Exception?[requests.Length];
        Array.Clear(_failures);
        (_requests, _results) = (requests, results);
        ops.ReadRows(logits, requests.Length, _chooseRow);
        (_requests, _results) = (default, default);
        foreach (Exception? failure in _failures)
        {
            if (failure is not null)
                ExceptionDispatchInfo.Throw(failure);
        }
    }

    private void ChooseRow(int row, ReadOnlySpan<float> values, int thread)
    {
        try
        {
            _results.Span[row] = _samplers[thread].Choose(values, _requests.Span[row]);
        }
        catch (Exception failure)
        {
            _failures[row] = failure;
        }
    }
}
