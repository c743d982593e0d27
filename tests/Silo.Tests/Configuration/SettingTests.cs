using Cluster.Grains;
using Cluster.Silo.Configuration;
using Microsoft.Extensions.Configuration;

namespace Cluster.Silo.Tests.Configuration;

/// <summary>Flags, environment, appsettings.json: what wins, what is refused, and what --help says.</summary>
public sealed class SettingTests
{
    [Fact]
    public void EveryMemberOfTheOptionsIsASetting() => Assert.Equal(
        typeof(ClusterOptions).GetProperties().Select(property => property.Name).Order(StringComparer.Ordinal),
        SettingTable.All.Select(setting => setting.Key).Order(StringComparer.Ordinal));

    [Fact]
    public void NothingGivenIsTheDefault()
    {
        (ClusterOptions options, IReadOnlyList<string> errors) = Read([]);
        Assert.Empty(errors);
        Assert.Equivalent(new ClusterOptions(), options);
    }

    [Fact]
    public void FlagsAreReadInVllmsSpelling()
    {
        (ClusterOptions options, IReadOnlyList<string> errors) = Read(
        [
            "--model", "a", "--model=b", "--served-model-name", "x", "--served-model-name", "y", "--host", "0.0.0.0", "--port", "0", "--dtype", "bfloat16", "--quantization", "int8",
            "--max-model-len", "77", "--max-num-seqs", "4", "--max-num-batched-tokens", "8", "--kv-cache-memory-bytes", "1.5GiB", "--seed", "-5",
            "--api-key", "k", "--no-enable-prefix-caching", "--devices", "cpu:0/2,cpu:1", "--redis", "localhost:6379", "--shutdown-timeout", "3",
            "--kv-cache-dtype", "int8",
        ]);
        Assert.Empty(errors);
        Assert.Equal(["a", "b"], options.Model);
        Assert.Equal(["x", "y"], options.ServedModelName);
        Assert.Equal(("0.0.0.0", 0, "bfloat16", "int8", 77), (options.Host, options.Port, options.Dtype, options.Quantization, options.MaxModelLen));
        Assert.Equal((4, 8, 3L << 29, -5L), (options.MaxNumSeqs, options.MaxNumBatchedTokens, options.KvCacheMemoryBytes, options.Seed));
        Assert.Equal((false, "cpu:0/2,cpu:1", "localhost:6379", 3), (options.EnablePrefixCaching, options.Devices, options.Redis, options.ShutdownTimeout));
        Assert.Equal(["k"], options.ApiKey);
        Assert.Equal("int8", options.KvCacheDtype);
    }

    [Fact]
    public void FlagsWinOverVariablesAndVariablesOverFiles()
    {
        var file = new Dictionary<string, string?>
        {
            ["Cluster:Port"] = "1", ["Cluster:MaxNumSeqs"] = "2", ["Cluster:BlockSize"] = "3", ["Cluster:Model:0"] = "f", ["Cluster:EnablePrefixCaching"] = "false",
        };
        var variables = new Dictionary<string, string> { ["CLUSTER_MAX_NUM_SEQS"] = "20", ["CLUSTER_BLOCK_SIZE"] = "30", ["CLUSTER_API_KEY"] = "k1, k2" };
        (ClusterOptions options, IReadOnlyList<string> errors) = Read(["--block-size", "300"], variables, file);
        Assert.Empty(errors);
        Assert.Equal((1, 20, 300, false), (options.Port, options.MaxNumSeqs, options.BlockSize, options.EnablePrefixCaching));
        Assert.Equal(["f"], options.Model);
        Assert.Equal(["k1", "k2"], options.ApiKey);
    }

    [Fact]
    public void AServiceVariableOfKubernetesIsNotAPort()
    {
        (ClusterOptions options, IReadOnlyList<string> errors) = Read([], new Dictionary<string, string> { ["CLUSTER_PORT"] = "tcp://10.0.0.7:8000" });
        Assert.Empty(errors);
        Assert.Equal(8000, options.Port);
    }

    [Fact]
    public void AllErrorsComeTogetherAndNameFlagLimitAndValue()
    {
        (_, IReadOnlyList<string> errors) = Read(
            ["--port", "99999", "--max-num-seqs", "many", "--dtype", "int4", "--devices", "gpu:0", "--host", "nowhere.example", "--kv-cache-memory-bytes", "-1"],
            new Dictionary<string, string> { ["CLUSTER_BLOCK_SIZE"] = "0" },
            new Dictionary<string, string?> { ["Cluster:SessionRetention"] = "soon", ["Cluster:Unknown"] = "1" });
        Assert.Equal(
            [
                "--block-size (CLUSTER_BLOCK_SIZE): must be a whole number between 1 and 1024, got '0'",
                "--devices: must be auto or a list such as cpu:0,cpu:1/2 or cuda:0 (threads 1 to 1024), got 'gpu:0'",
                "--dtype: must be one of auto, float32, bfloat16, float16, got 'int4'",
                "--host: must be an IP address or localhost, got 'nowhere.example'",
                $"--kv-cache-memory-bytes: must be a whole number between 1024 and {1L << 50}, got '-1'",
                "--max-num-seqs: must be a whole number between 1 and 65536, got 'many'",
                "--port: must be a whole number between 0 and 65535, got '99999'",
                "--session-retention (Cluster:SessionRetention): must be a whole number between 1 and 2678400, got 'soon'",
                "Cluster:Unknown: unknown setting (section Cluster of appsettings.json, or the environment)",
            ],
            errors.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(new[] { "--served-model-name", "a", "--served-model-name", "b" }, "--served-model-name: at most one per --model (1), got 2")]
    [InlineData(new[] { "--model", "x", "--model", "y", "--served-model-name", "a", "--served-model-name", "a" }, "--served-model-name: 'a' is given 2 times, names must differ")]
    [InlineData(new[] { "--silo-name", "a/b" }, "--silo-name: must not contain '/', got 'a/b'")]
    [InlineData(new[] { "--silo-port", "5000", "--gateway-port", "5000" }, "--silo-port and --gateway-port: must differ, got 5000")]
    [InlineData(new[] { "--devices", "cpu:0,cpu:0" }, "--devices: device cpu:0 is given twice")]
    public void ContradictionsAreRefused(string[] arguments, string error) => Assert.Equal([error], Read(arguments).Errors);

    [Theory]
    [InlineData(new[] { "--max-num-seq", "4" }, "--max-num-seq: unknown flag, did you mean --max-num-seqs?; --help lists the flags")]
    [InlineData(new[] { "--frobnicate" }, "--frobnicate: unknown flag; --help lists the flags")]
    [InlineData(new[] { "serve" }, "'serve': unexpected argument; every setting is a flag, --help lists them")]
    public void UnknownFlagsAreRefused(string[] arguments, string error) => Assert.Contains(error, CommandLine.Parse(arguments).Errors);

    [Fact]
    public void AFlagWithoutItsValueIsRefused()
    {
        string error = Assert.Single(CommandLine.Parse(["--port"]).Errors);
        Assert.Contains("--port", error, StringComparison.Ordinal);
    }

    [Fact]
    public void HelpNamesEveryFlagAndItsDefault()
    {
        string help = CommandLine.Parse(["--help"]).Output!;
        foreach (Setting setting in SettingTable.All)
            Assert.Contains(setting.IsSwitch ? $"--[no-]{setting.Name} " : $"{setting.Flag} ", help, StringComparison.Ordinal);
        Assert.Contains("Default: 8000.", help, StringComparison.Ordinal);
        Assert.All(help.Split('\n'), line => Assert.InRange(line.TrimEnd().Length, 0, 120));
        Assert.Equal(help, CommandLine.Parse(["--port", "1", "-h"]).Output);
    }

    [Fact]
    public void VersionIsPrinted() => Assert.Matches(@"^\d+\.\d+\.\d+$", CommandLine.Parse(["--version"]).Output!);

    [Theory]
    [InlineData("1024", 1024L)]
    [InlineData("4k", 4096L)]
    [InlineData("1.5MiB", 1572864L)]
    [InlineData("2 GB", null)]
    [InlineData("2GB", 2147483648L)]
    [InlineData("0.3", null)]
    [InlineData("99999999999T", null)]
    [InlineData("", null)]
    [InlineData("B", null)]
    public void SizesAreRead(string text, long? bytes) => Assert.Equal(bytes, ByteSize.TryParse(text));

    private static (ClusterOptions Options, IReadOnlyList<string> Errors) Read(
        string[] arguments, Dictionary<string, string>? variables = null, Dictionary<string, string?>? file = null)
    {
        CommandLineResult commandLine = CommandLine.Parse(arguments);
        Assert.Empty(commandLine.Errors);
        IConfiguration configuration = new ConfigurationBuilder().AddInMemoryCollection(file ?? []).Build();
        return SettingSources.Read(commandLine.Values, name => variables?.GetValueOrDefault(name), configuration);
    }
}
