namespace Cluster.Grains.Text.Templates;

/// <summary>Bounds that keep a hostile or broken template from taking the process. Real templates stay far below.</summary>
internal sealed record TemplateLimits
{
    public static TemplateLimits Default { get; } = new();

    /// <summary>Longest template, in UTF-16 units. The longest known one has 20 000.</summary>
    public int SourceLength { get; init; } = 1 << 20;

    /// <summary>
    /// Evaluated expressions and statements, some 100 ns each, and text work, 64 characters a step. A message takes
    /// about 50, so this is room for tens of thousands of messages in less than a second.
    /// </summary>
    public long Steps { get; init; } = 4_000_000;

    /// <summary>UTF-16 units of all strings and elements of all lists that are made while rendering.</summary>
    public long Produced { get; init; } = 64L << 20;

    /// <summary>Nesting of expressions, blocks and macro calls while rendering.</summary>
    public int Depth { get; init; } = 500;

    /// <summary>Nesting of brackets and blocks in the template's text.</summary>
    public int SyntaxDepth { get; init; } = 100;
}
