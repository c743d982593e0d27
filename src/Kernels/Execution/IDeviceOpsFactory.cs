namespace Cluster.Kernels.Execution;

/// <summary>Makes the ops of a device kind; the silo registers one per device library it was built with.</summary>
public interface IDeviceOpsFactory
{
    /// <summary>Whether this library drives the device, and if not why.</summary>
    bool Supports(DeviceId device, out string reason);

    /// <summary>Opens the device. Called on the device's own thread.</summary>
    /// <param name="device">Which device.</param>
    /// <param name="threads">Worker threads for a CPU device; 0 = the library's choice.</param>
    IDeviceOps Open(DeviceId device, int threads);
}
