using System.Runtime.CompilerServices;

namespace Cluster.Grains.Text.Templates;

/// <summary>Counts the work of one rendering against <see cref="TemplateLimits"/>; counts only, so it is deterministic.</summary>
internal sealed class RenderBudget(TemplateLimits limits)
{
    private const int CharactersPerStep = 64;

    private long _steps;
    private long _produced;
    private int _depth;

    /// <summary>Line of the template that is being evaluated.</summary>
    public int Line { get; private set; } = 1;

    /// <summary>One evaluation begins; every <see cref="Enter"/> has its <see cref="Leave"/>.</summary>
    public void Enter(int line)
    {
        Line = line;
        if (++_depth > limits.Depth || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw Exceeded("nesting", limits.Depth);
        Step(1);
    }

    public void Leave() => _depth--;

    public void Step(long count)
    {
        _steps += count;
        if (_steps > limits.Steps)
            throw Exceeded("steps", limits.Steps);
    }

    /// <summary>Work on text or lists of a length, without a result of that length.</summary>
    public void Scan(long length) => Step(length / CharactersPerStep);

    /// <summary>A string or list of this length is about to be made.</summary>
    public void Produce(long length)
    {
        Scan(length);
        _produced += length;
        if (_produced > limits.Produced)
            throw Exceeded("characters", limits.Produced);
    }

    /// <summary>Counts a string that was made, and returns it.</summary>
    public string Made(string text)
    {
        Produce(text.Length);
        return text;
    }

    private static ChatTemplateException Exceeded(string what, long limit) =>
        new(ChatTemplateFailure.Limit, $"rendering needs more than {limit} {what}");
}
