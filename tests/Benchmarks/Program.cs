using Cluster.Benchmarks.Kernels;
using Cluster.Benchmarks.Scheduling;

switch (args)
{
    case ["kernels", .. var rest]:
        KernelBenchmark.Run(rest);
        return 0;
    case ["scheduler", .. var rest]:
        await SchedulerBenchmark.RunAsync(rest);
        return 0;
    default:
        Console.Error.WriteLine("""
            Benchmarks COMMAND
              kernels [THREADS] [ROUNDS]   CPU kernels against the memory bandwidth and the FMA peak of this machine
              scheduler [ROUNDS]           a step's cost above the kernels, at 1 and 32 sequences
            """);
        return 2;
}
