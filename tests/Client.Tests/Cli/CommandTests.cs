using System.Text.Json.Nodes;
using Cluster.Cli;

namespace Cluster.Client.Tests.Cli;

/// <summary>The commands against the fake edge: what they print, send and return.</summary>
public sealed class CommandTests : IAsyncLifetime
{
    private readonly TestHost _host = new();
    private FakeEdge _edge = null!;

    public async ValueTask InitializeAsync()
    {
        _edge = await FakeEdge.StartAsync();
        _host.Variables["CLUSTER_URL"] = _edge.Url;
    }

    public ValueTask DisposeAsync() => _edge.DisposeAsync();

    private JsonNode Body => _edge.Seen.Last(seen => seen.Method == "POST").Body!;

    [Fact]
    public async Task Generate_StreamsTheText()
    {
        Assert.Equal(0, await _host.RunAsync("generate", "hello", "--max-tokens", "9", "--temperature", "0.5", "--top-k", "3", "--seed", "11", "--stop", "a", "--stop", "b", "--ignore-eos", "--min-p", "0.25"));
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 " + Environment.NewLine, _host.Out);
        Assert.Equal("", _host.Error);
        Assert.Equal("hello", (string?)Body["prompt"]);
        Assert.Equal((9, 0.5, 3, 11), ((int)Body["max_tokens"]!, (double)Body["temperature"]!, (int)Body["top_k"]!, (int)Body["seed"]!));
        Assert.Equal("""["a","b"]""", Body["stop"]!.ToJsonString());
        Assert.True((bool)Body["ignore_eos"]!);
    }

    [Fact]
    public async Task Generate_ReadsStandardInput_AndTokenIds()
    {
        _host.In = new StringReader("from\nstdin");
        Assert.Equal(0, await _host.RunAsync("generate"));
        Assert.Equal("from\nstdin", (string?)Body["prompt"]);
        Assert.Equal(0, await _host.RunAsync("generate", "--prompt-token-ids", "4, 5,6"));
        Assert.Equal("[4,5,6]", Body["prompt"]!.ToJsonString());
    }

    [Fact]
    public async Task Generate_Json_IsTheWholeAnswer()
    {
        Assert.Equal(0, await _host.RunAsync("generate", "hello", "--json", "--n", "2"));
        JsonNode answer = JsonNode.Parse(_host.Out)!;
        Assert.Equal("c1t0 c1t1 c1t2 c1t3 ", (string?)answer["choices"]![1]!["text"]);
        Assert.Equal("[150,151,152,153]", answer["choices"]![1]!["token_ids"]!.ToJsonString().Replace(" ", "", StringComparison.Ordinal));
        Assert.Equal(8, (int)answer["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task Generate_Chat_UsesTheTemplate()
    {
        Assert.Equal(0, await _host.RunAsync("generate", "hello", "--system", "Be brief."));
        Assert.Equal("""[{"role":"system","content":"Be brief."},{"role":"user","content":"hello"}]""", Body["messages"]!.ToJsonString());
    }

    [Fact]
    public async Task Failures_AreOneLine_AndNotZero()
    {
        Assert.Equal(1, await _host.RunAsync("generate", "hello", "--model", "other"));
        Assert.Equal("error: The model 'other' does not exist." + Environment.NewLine, _host.Error);
        Assert.Equal(1, await _host.RunAsync("generate", "hello", "--url", "http://127.0.0.1:1"));
        Assert.Contains("cannot be reached", _host.Error, StringComparison.Ordinal);
        Assert.NotEqual(0, await _host.RunAsync("generate", "hello", "--temperature", "warm"));
        Assert.NotEqual(0, await _host.RunAsync("nonsense"));
        Assert.NotEqual(0, await _host.RunAsync("ps", "--url", "nonsense"));
        Assert.NotEqual(0, await _host.RunAsync("ps", "--watch", "often"));
        Assert.NotEqual(0, await _host.RunAsync("ps", "--watch", "0"));
        _edge.Faults.Enqueue(new Fault(FaultKind.Overloaded));
        Assert.Equal(1, await _host.RunAsync("generate", "hello"));
        Assert.Contains("Try again in 7 s.", _host.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Interruption_SaysHowToGoOn_AndGoingOnWorks()
    {
        _edge.Faults.Enqueue(new Fault(FaultKind.Cut, 2));
        _edge.EveryFault = new Fault(FaultKind.ErrorEvent);
        Assert.Equal(1, await _host.RunAsync("generate", "hello"));
        Assert.Equal("c0t0 c0t1 ", _host.Out);
        string[] resume = _host.Error.Split("cluster ")[^1].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        _edge.EveryFault = null;
        Assert.Equal(0, await _host.RunAsync(resume));
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 " + Environment.NewLine, _host.Out);
    }

    [Fact]
    public async Task Chat_Piped_KeepsTheConversation()
    {
        _host.In = new StringReader("one\n/system Be kind.\n\ntwo\n/clear\nthree\n/exit\nfour\n");
        Assert.Equal(0, await _host.RunAsync("chat"));
        JsonNode[] bodies = [.. _edge.Seen.Where(seen => seen.Method == "POST").Select(seen => seen.Body!["messages"]!)];
        Assert.Equal(3, bodies.Length);
        Assert.Equal("""[{"role":"user","content":"one"}]""", bodies[0].ToJsonString());
        Assert.Equal("""[{"role":"system","content":"Be kind."},{"role":"user","content":"one"},{"role":"assistant","content":"c0t0 c0t1 c0t2 c0t3 "},{"role":"user","content":"two"}]""", bodies[1].ToJsonString());
        Assert.Equal("""[{"role":"system","content":"Be kind."},{"role":"user","content":"three"}]""", bodies[2].ToJsonString());
        Assert.Equal(string.Concat(Enumerable.Repeat("c0t0 c0t1 c0t2 c0t3 " + Environment.NewLine, 3)), _host.Out);
    }

    [Fact]
    public async Task Chat_CtrlC_StopsTheAnswer_NotTheProgram()
    {
        _edge.HoldAfter = 2;
        _host.IsInputTerminal = true;
        _host.In = new StringReader("one\ntwo\n");
        Task<int> chatting = Task.Run(() => _host.RunAsync("chat"));
        for (int answer = 1; answer <= 2; answer++)
        {
            int expected = answer;
            await _host.WaitForOutAsync(text => text.Split("c0t1 ").Length - 1 >= expected, TestContext.Current.CancellationToken);
            _host.Interrupt();
        }
        Assert.Equal(0, await chatting);
        JsonNode second = _edge.Seen.Last(seen => seen.Method == "POST").Body!["messages"]!;
        Assert.Equal("c0t0 c0t1 ", (string?)second[1]!["content"]);
        Assert.Equal("two", (string?)second[2]!["content"]);
    }

    [Fact]
    public async Task Ps_ShowsSilosModelsReplicas()
    {
        Assert.Equal(0, await _host.RunAsync("ps"));
        Assert.Matches(@"silo-a\s+active\s+http://127.0.0.1:8000\s+cpu:0", _host.Out);
        Assert.Matches(@"fake\s+llama\s+5M\s+BF16\s+512\s+yes\s+1/1 ready", _host.Out);
        Assert.Matches(@"fake/0\s+ready\s+7\s+silo-a/cpu:0\s+2\s+1\s+25\s?%\s+64\s+99\s+16\s+75\s?%\s25\s?%", _host.Out);
    }

    [Fact]
    public async Task Ps_Json_IsTheTopology()
    {
        Assert.Equal(0, await _host.RunAsync("ps", "--json"));
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(FakeEdge.TopologyJson), JsonNode.Parse(_host.Out)), _host.Out);
    }

    [Fact]
    public async Task Doctor_FindsAllWell_AndNamesRemedies()
    {
        Assert.Equal(0, await _host.RunAsync("doctor"));
        Assert.Contains("All is well.", _host.Out, StringComparison.Ordinal);
        Assert.Contains("resume repeats the rest exactly", _host.Out, StringComparison.Ordinal);
        Assert.DoesNotContain("FAIL", _host.Out, StringComparison.Ordinal);

        var down = new TestHost();
        Assert.Equal(1, await down.RunAsync("doctor", "--url", "http://127.0.0.1:1"));
        Assert.Contains("-> Start a silo", down.Out, StringComparison.Ordinal);

        _edge.ApiKey = "secret";
        var locked = new TestHost();
        Assert.Equal(1, await locked.RunAsync("doctor", "--url", _edge.Url));
        Assert.Contains("--api-key", locked.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_NamesEveryCommand()
    {
        Assert.Equal(0, await _host.RunAsync("--help"));
        foreach (string command in new[] { "generate", "chat", "ps", "bench", "doctor", "--url", "--api-key" })
            Assert.Contains(command, _host.Out, StringComparison.Ordinal);
        Assert.IsType<ChatCommand>(ClusterCommand.Create(HostOf()).Parse("chat").CommandResult.Command);
    }

    private static CliHost HostOf() => CliHost.ForProcess();
}
