using Cluster.StorageWriter;
using Orleans;
using Orleans.Runtime;

// Arguments: sqlite:FILE or redis:CONNECTION, and the number of writers. Writes 1, 2, 3 ... for each writer until it is
// killed, and says "ack WRITER VALUE" only after the provider has acknowledged the value.
await using StorageUnderTest opened = await StorageUnderTest.OpenAsync(args[0]);
var output = TextWriter.Synchronized(Console.Out);
output.WriteLine("ready");

async Task WriteForever(int writer)
{
    var state = new GrainState<CounterState> { State = new CounterState { Padding = new byte[400] } };
    for (long value = 1; ; value++)
    {
        state.State!.Value = value;
        await opened.Storage.WriteStateAsync("counter", GrainId.Create("writer", $"{writer}"), state);
        output.WriteLine($"ack {writer} {value}");
        output.Flush();
    }
}

await Task.WhenAll(Enumerable.Range(0, int.Parse(args[1])).Select(WriteForever));
