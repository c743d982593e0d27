using Cluster.Benchmarks.Collectives;
using Cluster.Benchmarks.Kernels;
using Cluster.Benchmarks.Llama;
using Cluster.Benchmarks.Parallel;
using Cluster.Benchmarks.Quality;
using Cluster.Benchmarks.Scheduling;
using Cluster.Benchmarks.Serving;

switch (args)
{
    case ["collectives", .. var rest]:
        await CollectiveBenchmark.RunAsync(rest);
        return 0;
    case ["kernels", .. var rest]:
        KernelBenchmark.Run(rest);
        return 0;
    case ["llama", .. var rest]:
        return await LlamaCommand.RunAsync(rest);
    case ["parallel", .. var rest]:
        return await ParallelBenchmark.RunAsync(rest);
    case ["perplexity", .. var rest]:
        return await PerplexityCommand.RunAsync(rest);
    case ["scheduler", .. var rest]:
        await SchedulerBenchmark.RunAsync(rest);
        return 0;
    case ["serving", .. var rest]:
        return await ServingBenchmark.RunAsync(rest);
    case ["start", .. var rest]:
        return await StartBenchmark.RunAsync(rest);
    default:
        Console.Error.WriteLine("""
            Benchmarks COMMAND
              collectives [ROUNDS]         process groups (Tcp, Local) against raw loopback sockets
              kernels [THREADS] [ROUNDS]   CPU kernels against the memory bandwidth and the FMA peak of this machine
              llama OPTIONS                against the llama.cpp that you have (llama --help)
              parallel MODEL [ROUNDS]      two shards of one thread against one device with two: tensor and pipeline parallel
              perplexity MODEL... OPTIONS  what models think of a text, by --quantization (perplexity --help)
              scheduler [ROUNDS]           a step's cost above the kernels, at 1 and 32 sequences
              serving MODEL [ROUNDS]       tokens/s through silo and HTTP against the kernels alone, 1 and 32 streams
              start [ROUNDS] [MODEL]       from the start of the silo's process to the first token
            """);
        return 2;
}
