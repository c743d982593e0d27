using System.Globalization;
using System.Text;

namespace Cluster.Grains.Text.Templates;

/// <summary>Parses literals, names, brackets, and what may follow a value directly: members, elements, calls.</summary>
internal sealed class PrimaryParser(TokenCursor cursor)
{
    public Expression Parse(ExpressionParser expressions)
    {
        TemplateToken token = cursor.Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                cursor.Take();
                return Name(token);
            case TokenKind.String:
                return Text();
            case TokenKind.Integer:
                cursor.Take();
                return new LiteralExpression(token.Line, Integer(token));
            case TokenKind.Float:
                cursor.Take();
                return new LiteralExpression(token.Line, double.Parse(token.Text, CultureInfo.InvariantCulture));
            case TokenKind.Operator when token.Text == "(":
                return Parentheses(expressions);
            case TokenKind.Operator when token.Text == "[":
                cursor.Take();
                return new ListExpression(token.Line, Items("]", expressions), isTuple: false);
            case TokenKind.Operator when token.Text == "{":
                return Map(expressions);
            default:
                throw cursor.Unexpected("an expression");
        }
    }

    public Expression ParsePostfix(Expression value, ExpressionParser expressions)
    {
        while (true)
        {
            int line = cursor.Line;
            if (cursor.TrySkipOperator("."))
                value = Member(line, value);
            else if (cursor.TrySkipOperator("["))
                value = Subscript(line, value, expressions);
            else if (cursor.Current.IsOperator("("))
                value = new CallExpression(line, value, expressions.ParseArguments());
            else
                return value;
        }
    }

    private static Expression Name(TemplateToken token) => token.Text switch
    {
        "true" or "True" => new LiteralExpression(token.Line, true),
        "false" or "False" => new LiteralExpression(token.Line, false),
        "none" or "None" => new LiteralExpression(token.Line, null),
        _ => new NameExpression(token.Line, token.Text),
    };

    private LiteralExpression Text()
    {
        int line = cursor.Line;
        var text = new StringBuilder();
        while (cursor.Current.Kind == TokenKind.String)
            text.Append(cursor.Take().Text);
        return new LiteralExpression(line, text.ToString());
    }

    private object Integer(TemplateToken token) =>
        long.TryParse(token.Text, NumberStyles.None, CultureInfo.InvariantCulture, out long value)
            ? value
            : throw TagLexer.Wrong(token.Line, $"the number {token.Text} does not fit 64 bits");

    private Expression Parentheses(ExpressionParser expressions)
    {
        int line = cursor.Take().Line;
        if (cursor.TrySkipOperator(")"))
            return new ListExpression(line, [], isTuple: true);
        Expression value = expressions.ParseTuple();
        cursor.ExpectOperator(")");
        return value;
    }

    private List<Expression> Items(string close, ExpressionParser expressions)
    {
        var items = new List<Expression>();
        while (!cursor.TrySkipOperator(close))
        {
            items.Add(expressions.Parse());
            if (!cursor.Current.IsOperator(close))
                cursor.ExpectOperator(",");
        }

        return items;
    }

    private MapExpression Map(ExpressionParser expressions)
    {
        int line = cursor.Take().Line;
        var entries = new List<(Expression, Expression)>();
        while (!cursor.TrySkipOperator("}"))
        {
            Expression key = expressions.Parse();
            cursor.ExpectOperator(":");
            entries.Add((key, expressions.Parse()));
            if (!cursor.Current.IsOperator("}"))
                cursor.ExpectOperator(",");
        }

        return new MapExpression(line, entries);
    }

    private Expression Member(int line, Expression value)
    {
        TemplateToken token = cursor.Take();
        return token.Kind switch
        {
            TokenKind.Name => new AttributeExpression(line, value, token.Text),
            TokenKind.Integer => new ItemExpression(line, value, new LiteralExpression(line, Integer(token))),
            _ => throw TagLexer.Wrong(line, $"{token} stands where a name is expected"),
        };
    }

    private Expression Subscript(int line, Expression value, ExpressionParser expressions)
    {
        Expression? first = cursor.Current.IsOperator(":") ? null : expressions.Parse();
        if (first is not null && cursor.TrySkipOperator("]"))
            return new ItemExpression(line, value, first);
        cursor.ExpectOperator(":");
        Expression? stop = Bound(expressions);
        Expression? step = cursor.TrySkipOperator(":") ? Bound(expressions) : null;
        cursor.ExpectOperator("]");
        return new SliceExpression(line, value, first, stop, step);
    }

    private Expression? Bound(ExpressionParser expressions) =>
        cursor.Current.IsOperator(":") || cursor.Current.IsOperator("]") ? null : expressions.Parse();
}
