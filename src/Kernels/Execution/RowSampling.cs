using System.Runtime.ExceptionServices;
using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Execution;

/// <summary>
/// Samples the rows of a tile of logits over the host threads of the device, each with a sampler of its own. A draw is a pure
/// function of its row and request, so who draws it does not matter.
/// </summary>
internal sealed class RowSampling(int vocabulary)
{
    private Sampler[] _samplers = [];

    /// <summary>results[i] = what is asked of row i.</summary>
    /// <exception cref="NonFiniteLogitException">The model gave NaN or infinity; of several such rows the first one tells.</exception>
    public void Choose(IDeviceOps ops, DeviceBuffer logits, ReadOnlyMemory<LogitRequest> requests, Memory<LogitResult> results)
    {
        if (_samplers.Length != ops.ReaderThreads)
            _samplers = [.. Enumerable.Range(0, ops.ReaderThreads).Select(_ => new Sampler(vocabulary))];
        var failures = new Exception?[requests.Length];
        ops.ReadRows(logits, requests.Length, (row, values, thread) =>
        {
            try
            {
                results.Span[row] = _samplers[thread].Choose(values, requests.Span[row]);
            }
            catch (Exception failure)
            {
                failures[row] = failure;
            }
        });
        if (Array.Find(failures, failure => failure is not null) is { } first)
            ExceptionDispatchInfo.Throw(first);
    }
}
