using System.Diagnostics.Metrics;
using System.Runtime.InteropServices;
using Cluster.Grains;

namespace Cluster.Silo.Gateway.Metrics;

/// <summary>Listens to the cluster's meter and keeps the totals that <see cref="MetricsPage"/> renders.</summary>
internal sealed class MetricStore : IDisposable
{
    private readonly MeterListener _listener = new();
    private readonly Lock _lock = new();
    private readonly List<MetricFamily> _families = [];
    private readonly Meter _meter;

    /// <summary>Starts to listen. <paramref name="metrics"/> must exist before: its instruments are what is listened to.</summary>
    public MetricStore(ClusterMetrics metrics)
    {
        ArgumentNullException.ThrowIfNull(metrics);
        _meter = metrics.PromptTokens.Meter;
        _listener.InstrumentPublished = Publish;
        _listener.SetMeasurementEventCallback<long>((_, value, tags, state) => ((MetricFamily)state!).Record(value, tags));
        _listener.SetMeasurementEventCallback<double>((_, value, tags, state) => ((MetricFamily)state!).Record(value, tags));
        _listener.Start();
    }

    /// <summary>All families, with the gauges as of now.</summary>
    public IReadOnlyList<MetricFamily> Collect()
    {
        lock (_lock)
        {
            foreach (MetricFamily family in _families)
                family.BeginCollect();
            _listener.RecordObservableInstruments();
            return [.. _families];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _listener.Dispose();

    private void Publish(Instrument instrument, MeterListener listener)
    {
        // By identity: several silos of one process (tests) have meters of the same name.
        if (instrument.Meter != _meter)
            return;
        MetricKind? kind = instrument switch
        {
            Counter<long> => MetricKind.Counter,
            Histogram<double> => MetricKind.Histogram,
            ObservableGauge<double> => MetricKind.Gauge,
            _ => null,
        };
        if (kind is null)
            return;
        double[] buckets = instrument is Histogram<double> histogram ? [.. histogram.Advice?.HistogramBucketBoundaries ?? []] : [];
        var family = new MetricFamily(instrument.Name, instrument.Description ?? "", kind.Value, buckets);
        lock (_lock)
            _families.Add(family);
        listener.EnableMeasurementEvents(instrument, family);
    }
}

/// <summary>What a metric is.</summary>
internal enum MetricKind
{
    /// <summary>Only grows.</summary>
    Counter,

    /// <summary>A value now.</summary>
    Gauge,

    /// <summary>Counts per bucket.</summary>
    Histogram,
}

/// <summary>One metric with its series, one per set of labels.</summary>
internal sealed class MetricFamily(string name, string description, MetricKind kind, double[] buckets)
{
    private readonly Lock _lock = new();
    private readonly List<MetricSeries> _series = [];

    /// <summary>Name of the instrument.</summary>
    public string Name { get; } = name;

    /// <summary>What it tells.</summary>
    public string Description { get; } = description;

    /// <summary>Counter, gauge or histogram.</summary>
    public MetricKind Kind { get; } = kind;

    /// <summary>Upper bounds of the buckets, ascending, without infinity.</summary>
    public double[] Buckets { get; } = buckets;

    /// <summary>A copy of the series.</summary>
    public IReadOnlyList<MetricSeries> Series
    {
        get
        {
            lock (_lock)
                return [.. _series.Select(series => series.Copy())];
        }
    }

    /// <summary>Forgets gauges: those that still exist are observed again.</summary>
    public void BeginCollect()
    {
        if (Kind != MetricKind.Gauge)
            return;
        lock (_lock)
            _series.Clear();
    }

    /// <summary>Takes a measurement. A token's latency comes through here, so nothing is allocated for known labels.</summary>
    public void Record(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        lock (_lock)
            Find(tags).Record(value, Kind, Buckets);
    }

    private MetricSeries Find(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        foreach (MetricSeries series in CollectionsMarshal.AsSpan(_series))
        {
            if (series.Matches(tags))
                return series;
        }
        var added = new MetricSeries([.. tags], Kind == MetricKind.Histogram ? new long[Buckets.Length + 1] : []);
        _series.Add(added);
        return added;
    }
}

/// <summary>Totals under one set of labels.</summary>
internal sealed class MetricSeries(KeyValuePair<string, object?>[] labels, long[] counts)
{
    /// <summary>The labels.</summary>
    public IReadOnlyList<KeyValuePair<string, object?>> Labels => labels;

    /// <summary>Measurements per bucket (not cumulative); the last one has no upper bound.</summary>
    public IReadOnlyList<long> Counts => counts;

    /// <summary>Sum of a histogram, total of a counter, value of a gauge.</summary>
    public double Value { get; private set; }

    /// <summary>Whether the labels are these.</summary>
    public bool Matches(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.Length != labels.Length)
            return false;
        for (int i = 0; i < tags.Length; i++)
        {
            if (tags[i].Key != labels[i].Key || !Equals(tags[i].Value, labels[i].Value))
                return false;
        }
        return true;
    }

    /// <summary>Takes a measurement.</summary>
    public void Record(double value, MetricKind kind, double[] buckets)
    {
        if (kind == MetricKind.Gauge)
        {
            Value = value;
            return;
        }
        Value += value;
        if (kind != MetricKind.Histogram)
            return;
        int bucket = Array.BinarySearch(buckets, value);
        counts[bucket >= 0 ? bucket : ~bucket]++;
    }

    /// <summary>A copy that no longer changes.</summary>
    public MetricSeries Copy() => new(labels, [.. counts]) { Value = Value };
}
