using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// The tensors of a checkpoint by the names and in the order of Hugging Face's layout, whatever kind of file they lie in. Views of
/// a mapping: valid until disposal.
/// </summary>
internal interface IWeightSource : IDisposable
{
    /// <summary>Weights that are stored together along a row: 1, or the largest quantised block of any tensor.</summary>
    int BlockElements { get; }

    /// <summary>File of a tensor, for messages.</summary>
    string FileOf(string name);

    /// <summary>A matrix of exactly [rows, columns], as one or several ranges of its rows in order.</summary>
    /// <exception cref="CheckpointFormatException">It is missing or of another shape or of a type that is not served.</exception>
    IReadOnlyList<HostTensor> Rows(string name, int rows, int columns);

    /// <summary>A matrix of exactly [rows, columns] in one piece.</summary>
    /// <exception cref="CheckpointFormatException">It is missing or of another shape or of a type that is not served.</exception>
    HostTensor Matrix(string name, int rows, int columns);

    /// <summary>A vector of exactly [length].</summary>
    /// <exception cref="CheckpointFormatException">It is missing or of another shape or of a type that is not served.</exception>
    HostTensor Vector(string name, int length);

    /// <summary>File and tensor: equal for the same tensor of another source of the same files.</summary>
    string Identity(string name);

    /// <summary>The tensor has been packed: its pages need not stay in memory.</summary>
    void Release(string name);
}
