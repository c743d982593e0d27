using System.Diagnostics;
using System.Globalization;
using Cluster.DemoModels.Checkpoints;
using Cluster.DemoModels.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

/// <summary>What a training run is told.</summary>
/// <param name="Minutes">Wall time of the whole run, over all resumes; the learning rate follows a cosine of the time used.</param>
/// <param name="WorkFolder">Log, loss table and training checkpoint.</param>
/// <param name="OutputFolder">The Hugging Face folder, rewritten at every checkpoint.</param>
internal sealed record TrainingOptions(
    double Minutes, int BatchTokens, int SequenceLength, float LearningRate, int Seed, double CheckpointMinutes,
    string WorkFolder, string OutputFolder);

/// <summary>Trains a decoder on a token stream against the next token, or against a teacher's distribution.</summary>
internal sealed class TrainingRun
{
    private const int WarmupSteps = 60;

    private readonly TrainingPass _pass;
    private readonly Optimizer _optimizer;
    private readonly TokenStream _stream;
    private readonly TrainingOptions _options;
    private readonly TrainableDecoder _model;
    private readonly BytePairVocabulary _vocabulary;
    private readonly Corpus _corpus;
    private readonly TrainingPass? _teacher;
    private readonly Stopwatch _watch = new();
    private double _earlierMinutes;

    public TrainingRun(
        TrainingOptions options, TrainableDecoder model, BytePairVocabulary vocabulary, Corpus corpus, TrainableDecoder? teacher = null,
        IEnumerable<List<int>>? generated = null)
    {
        (_options, _model, _vocabulary, _corpus) = (options, model, vocabulary, corpus);
        _teacher = teacher is null ? null : new TrainingPass(teacher);
        _pass = new TrainingPass(model);
        _optimizer = new Optimizer(model.Parameters, _pass.Gradients);
        _stream = new TokenStream(
            corpus.Training.Select(document => Corpus.Encode(document, vocabulary)).Concat(generated ?? []), options.Seed);
    }

    private double Minutes => _earlierMinutes + _watch.Elapsed.TotalMinutes;

    private string CheckpointPath => Path.Combine(_options.WorkFolder, "training.safetensors");

    /// <summary>Continues from the work folder's checkpoint.</summary>
    public void Resume()
    {
        Dictionary<string, NamedTensor> tensors = TensorFile.Read(CheckpointPath, out Dictionary<string, string> metadata);
        foreach (string name in _model.Parameters.Keys)
            _model.Load(tensors[name]);
        _optimizer.Load(tensors);
        _optimizer.Steps = int.Parse(metadata["steps"], CultureInfo.InvariantCulture);
        _earlierMinutes = double.Parse(metadata["minutes"], CultureInfo.InvariantCulture);
        _stream.Seek(int.Parse(metadata["epoch"], CultureInfo.InvariantCulture), int.Parse(metadata["document"], CultureInfo.InvariantCulture));
    }

    /// <summary>Trains until the time is used up; writes checkpoints on the way and at the end.</summary>
    public void Run()
    {
        Directory.CreateDirectory(_options.WorkFolder);
        Log($"parameters {_model.Shape.Parameters:N0}, vocabulary {_vocabulary.Size}, tokens per epoch {_stream.Length:N0}");
        _watch.Start();
        double nextCheckpoint = Minutes + _options.CheckpointMinutes, loss = 0;
        int window = 0;
        while (Minutes < _options.Minutes)
        {
            double norm = Step(out double stepLoss);
            loss += stepLoss;
            if (++window == 20)
            {
                Log($"step {_optimizer.Steps} minutes {Minutes:F2} epoch {_stream.Epoch}.{_stream.Position} loss {loss / window:F4} norm {norm:F2} rate {Rate():G3}");
                (loss, window) = (0, 0);
            }
            if (Minutes >= nextCheckpoint)
            {
                Save();
                nextCheckpoint = Minutes + _options.CheckpointMinutes;
            }
        }
        Save();
    }

    private double Step(out double loss)
    {
        // Every eighth batch has rows as long as the model's positions, so that none is untrained.
        int length = _optimizer.Steps % 8 == 7 ? _model.Shape.MaxPositions : _options.SequenceLength;
        int rows = Math.Max(1, _options.BatchTokens / length);
        var inputs = new long[rows * length];
        var targets = new long[rows * length];
        _stream.Next(inputs, targets, length);
        using DisposeScope scope = NewDisposeScope();
        loss = _pass.Run(inputs, targets, length, _teacher?.Logits(inputs, length));
        if (!double.IsFinite(loss))
            throw new InvalidOperationException($"Loss is {loss} at step {_optimizer.Steps}.");
        return _optimizer.Step(Rate());
    }

    private float Rate()
    {
        double warmup = Math.Min(1, (_optimizer.Steps + 1) / (double)WarmupSteps);
        double progress = Math.Clamp(Minutes / _options.Minutes, 0, 1);
        return (float)(_options.LearningRate * warmup * (0.05 + 0.95 * 0.5 * (1 + Math.Cos(Math.PI * progress))));
    }

    private void Save()
    {
        IEnumerable<NamedTensor> weights = _model.Parameters.Select(
            pair => new NamedTensor(pair.Key, pair.Value.shape, pair.Value.data<float>().ToArray()));
        TensorFile.Write(CheckpointPath, weights.Concat(_optimizer.Moments()), bfloat16: false, new Dictionary<string, string>
        {
            ["steps"] = _optimizer.Steps.ToString(CultureInfo.InvariantCulture),
            ["minutes"] = Minutes.ToString("R", CultureInfo.InvariantCulture),
            ["epoch"] = _stream.Epoch.ToString(CultureInfo.InvariantCulture),
            ["document"] = _stream.Position.ToString(CultureInfo.InvariantCulture),
        });
        HubFolder.Write(_options.OutputFolder, _model, _vocabulary);
        Log($"checkpoint step {_optimizer.Steps} minutes {Minutes:F2} validation {Validate():F4}");
        Log("chat: " + TextGeneration.Sample(_model, _vocabulary,
            "Tom has 5 boxes with 12 apples each. He gives away 15 apples. How many apples are left?", chat: true, temperature: 0));
        Log("play: " + TextGeneration.Sample(_model, _vocabulary, "ROMEO:\n", chat: false, temperature: 0.7, count: 80));
    }

    /// <summary>Mean loss per token of the held-out documents.</summary>
    private double Validate()
    {
        using IDisposable grad = no_grad();
        var stream = new TokenStream(_corpus.Validation.Select(document => Corpus.Encode(document, _vocabulary)), seed: 1);
        int rows = 4, length = _options.SequenceLength, batches = (int)(stream.Length / (rows * length));
        var inputs = new long[rows * length];
        var targets = new long[rows * length];
        double sum = 0;
        for (int i = 0; i < batches; i++)
        {
            using DisposeScope scope = NewDisposeScope();
            stream.Next(inputs, targets, length);
            sum += TokenLoss.Compute(_model.Forward(tensor(inputs, rows, length)), targets, teacherLogits: null, gradient: null);
        }
        return sum / batches;
    }

    private void Log(FormattableString line) => Log(line.ToString(CultureInfo.InvariantCulture));

    private void Log(string line)
    {
        Console.WriteLine(line);
        File.AppendAllText(Path.Combine(_options.WorkFolder, "train.log"), line + "\n");
    }
}
