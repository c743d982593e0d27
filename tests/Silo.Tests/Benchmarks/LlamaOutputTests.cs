using Cluster.Benchmarks.Llama;

namespace Cluster.Silo.Tests.Benchmarks;

/// <summary>What llama.cpp's programs print, in their own spelling (llama.cpp v0.5.0; files shortened to one model).</summary>
public sealed class LlamaOutputTests
{
    private const string Bench = """
        [
          {
            "build_commit": "0ad4a86",
            "build_number": 1,
            "cpu_info": "AMD EPYC",
            "gpu_info": "",
            "backends": "CPU",
            "model_filename": "../wide1b-q4_0.gguf",
            "model_type": "llama 1B Q4_0",
            "model_size": 570040320,
            "model_n_params": 1012992000,
            "n_batch": 2048,
            "n_ubatch": 512,
            "n_threads": 2,
            "cpu_mask": "0x0",
            "cpu_strict": false,
            "poll": 50,
            "type_k": "f16",
            "type_v": "f16",
            "n_gpu_layers": -1,
            "n_cpu_moe": 0,
            "split_mode": "layer",
            "main_gpu": 0,
            "no_kv_offload": false,
            "flash_attn": -1,
            "devices": "auto",
            "tensor_split": "0.00",
            "tensor_buft_overrides": "none",
            "load_mode": "none",
            "lazy_mode": "auto",
            "embeddings": false,
            "no_op_offload": 0,
            "no_host": false,
            "fit_target": 0,
            "fit_min_ctx": 0,
            "n_prompt": 8,
            "n_gen": 0,
            "n_depth": 0,
            "test_time": "2026-11-25T11:47:40Z",
            "avg_ns": 128472084,
            "stddev_ns": 0,
            "avg_ts": 62.270337,
            "stddev_ts": 0.000000,
            "samples_ns": [ 128472084 ],
            "samples_ts": [ 62.2703 ]
          },
          {
            "build_commit": "0ad4a86",
            "build_number": 1,
            "model_type": "llama 1B Q4_0",
            "n_threads": 2,
            "n_prompt": 0,
            "n_gen": 4,
            "samples_ns": [ 159554961, 160000000 ],
            "samples_ts": [ 25.0697, 25 ]
          }
        ]
        """;

    private const string Batched = """


        {"n_kv_max": 2048, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "is_pp_shared": 0, "n_gpu_layers": -1, "n_threads": 2, "n_threads_batch": 2, "pp": 16, "tg": 6, "pl": 32, "n_kv": 704, "t_pp": 2.941000, "speed_pp": 174.088318, "t_tg": 1.315511, "speed_tg": 145.952225, "t": 4.256511, "speed": 165.393474}

        llama_perf_context_print:        load time =    1234.56 ms
        """;

    [Fact]
    public void Bench_GivesEveryTestOfTheRealSpelling()
    {
        IReadOnlyList<LlamaBenchTest> tests = LlamaOutput.Bench(Bench);

        Assert.Equal([(8, 0), (0, 4)], tests.Select(test => (test.PromptTokens, test.DecodedTokens)));
        Assert.Equal([62.2703], tests[0].TokensPerSecond);
        Assert.Equal([25.0697, 25], tests[1].TokensPerSecond);
        Assert.All(tests, test => Assert.Equal(("0ad4a86", 1, "llama 1B Q4_0", 2), (test.BuildCommit, test.BuildNumber, test.ModelType, test.Threads)));
    }

    [Fact]
    public void Batched_ReadsResultsAndSkipsTheLog()
    {
        LlamaBatchedTest test = Assert.Single(LlamaOutput.Batched(Batched));

        Assert.Equal((32, 2, 145.952225), (test.Streams, test.Threads, test.DecodeTokensPerSecond));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("error: failed to load model")]
    [InlineData("[ { \"n_prompt\": 8 } ]")]
    [InlineData("[ { \"n_prompt\": ")]
    public void Bench_RefusesAnythingElseAndShowsIt(string output)
    {
        var exception = Assert.Throws<InvalidDataException>(() => LlamaOutput.Bench(output));
        Assert.EndsWith(output, exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no result")]
    [InlineData("{\"pl\": 32}")]
    public void Batched_RefusesAnythingElse(string output) =>
        Assert.Throws<InvalidDataException>(() => LlamaOutput.Batched(output));

    [Theory]
    [InlineData("  -lm, --load-mode <auto|none|mmap|mlock|mmap+mlock|dio> (default: auto)", "-lm none")]
    [InlineData("  -mmp, --mmap <0|1>                        (default: 1)", "-mmp 0")]
    [InlineData("  --no-mmap     do not memory-map model (slower load but may reduce pageouts if not using mlock)", "--no-mmap")]
    [InlineData("  -m, --model <filename>", "")]
    public void Unmapped_IsSpelledAsTheHelpSays(string help, string flags) =>
        Assert.Equal(flags, string.Join(' ', LlamaOutput.Unmapped(help)));

    [Fact]
    public void CpuVariant_IsTheLibraryThatWasLoaded()
    {
        Assert.Equal("libggml-cpu-zen4.so", LlamaOutput.CpuVariant("register: one\nload_backend: loaded CPU backend from /opt/llama/libggml-cpu-zen4.so\n"));
        Assert.Null(LlamaOutput.CpuVariant("warning: asserts enabled"));
    }
}
