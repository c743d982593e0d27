using System.Runtime.CompilerServices;

namespace Cluster.Grains.Text.Templates;

/// <summary>The parser's place in the tokens.</summary>
internal sealed class TokenCursor(List<TemplateToken> tokens, TemplateLimits limits)
{
    private int _next;
    private int _depth;

    public TemplateToken Current => tokens[_next];

    public TemplateToken Following => tokens[Math.Min(_next + 1, tokens.Count - 1)];

    public int Line => Current.Line;

    public TemplateToken Take()
    {
        TemplateToken token = Current;
        if (token.Kind != TokenKind.End)
            _next++;
        return token;
    }

    public bool TrySkipOperator(string symbol) => TrySkip(Current.IsOperator(symbol));

    public bool TrySkipName(string name) => TrySkip(Current.IsName(name));

    public void ExpectOperator(string symbol)
    {
        if (!TrySkipOperator(symbol))
            throw Unexpected($"'{symbol}'");
    }

    public TemplateToken Expect(TokenKind kind, string what) => Current.Kind == kind ? Take() : throw Unexpected(what);

    public void ExpectName(string name)
    {
        if (!TrySkipName(name))
            throw Unexpected($"'{name}'");
    }

    /// <summary>One more level of brackets or blocks begins; every call has its <see cref="Leave"/>.</summary>
    public void Enter()
    {
        if (++_depth > limits.SyntaxDepth || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw new ChatTemplateException(ChatTemplateFailure.Limit,
                $"the chat template nests deeper than {limits.SyntaxDepth} in line {Line}");
        }
    }

    public void Leave() => _depth--;

    public ChatTemplateException Unexpected(string expected) =>
        TagLexer.Wrong(Line, $"{Current} stands where {expected} is expected");

    public ChatTemplateException Wrong(string problem) => TagLexer.Wrong(Line, problem);

    private bool TrySkip(bool matches)
    {
        if (matches)
            _next++;
        return matches;
    }
}
