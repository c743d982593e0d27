using Cluster.Benchmarks.Kernels;

switch (args)
{
    case ["kernels", .. var rest]:
        KernelBenchmark.Run(rest);
        return 0;
    default:
        Console.Error.WriteLine("""
            Benchmarks COMMAND
              kernels [THREADS] [ROUNDS]   CPU kernels against the memory bandwidth and the FMA peak of this machine
            """);
        return 2;
}
