using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Cluster.Contracts;

namespace Cluster.Grains.Tests.Sessions;

public sealed class SessionTelemetryTests(SessionCluster cluster) : IClassFixture<SessionCluster>
{
    [Fact]
    public async Task Session_IsMeasured()
    {
        var seen = new ConcurrentBag<(string Name, double Value, string? Model, string? Reason)>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == ClusterMetrics.SourceName)
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        void See(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            string? Tag(ReadOnlySpan<KeyValuePair<string, object?>> all, string name)
            {
                foreach (KeyValuePair<string, object?> tag in all)
                {
                    if (tag.Key == name)
                        return tag.Value as string;
                }

                return null;
            }

            seen.Add((instrument.Name, value, Tag(tags, "model_name"), Tag(tags, "finished_reason") ?? Tag(tags, "reason")));
        }

        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => See(instrument, value, tags));
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => See(instrument, value, tags));
        listener.Start();
        GenerationRequest request = TestModels.Request(maxTokens: 6, choices: 2) with { Model = TestModels.Chat, Stop = new StopOptions { MaxTokens = 6 } };
        await cluster.RunAsync(SessionCluster.NewId(), request);
        await Assert.ThrowsAsync<RequestRejectedException>(
            () => cluster.Session(SessionCluster.NewId()).Start(request with { Choices = 500 }, CancellationToken.None));

        double[] Values(string name) => [.. seen.Where(one => one.Name == "vllm:" + name && one.Model == TestModels.Chat).Select(one => one.Value)];
        Assert.Single(Values("time_to_first_token_seconds"));
        Assert.Single(Values("e2e_request_latency_seconds"));
        Assert.Single(Values("request_time_per_output_token_seconds"));
        Assert.NotEmpty(Values("inter_token_latency_seconds"));
        Assert.Equal([6, 6], Values("request_generation_tokens"));
        Assert.Equal([3], Values("request_prompt_tokens"));
        Assert.Equal([6], Values("request_params_max_tokens"));
        Assert.Equal([2], Values("request_params_n"));
        Assert.Equal(2, seen.Count(one => one.Name == "vllm:request_success" && one.Model == TestModels.Chat && one.Reason == "length"));
        Assert.Contains(seen, one => one.Name == "vllm:admission_rejections" && one.Model == TestModels.Chat && one.Reason == "InvalidRequest");
    }

    [Fact]
    public async Task Session_HasASpanWithTheConventionsAttributes()
    {
        string id = SessionCluster.NewId();
        var stopped = new TaskCompletionSource<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == ClusterMetrics.SourceName,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = activity =>
            {
                if (activity.GetTagItem("gen_ai.response.id") as string == id)
                    stopped.TrySetResult(activity);
            },
        };
        ActivitySource.AddActivityListener(listener);
        await cluster.RunAsync(id, TestModels.Request(maxTokens: 4) with { Stop = new StopOptions { MaxTokens = 4, IgnoreEos = true } });
        Activity span = await stopped.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal("text_completion tokens-only", span.DisplayName);
        Assert.Equal("text_completion", span.GetTagItem("gen_ai.operation.name"));
        Assert.Equal(4, span.GetTagItem("gen_ai.request.max_tokens"));
        Assert.Equal((3, 4), (span.GetTagItem("gen_ai.usage.input_tokens"), span.GetTagItem("gen_ai.usage.output_tokens")));
        Assert.Equal(["length"], Assert.IsType<string[]>(span.GetTagItem("gen_ai.response.finish_reasons")));
    }
}
