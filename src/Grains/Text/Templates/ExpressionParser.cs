namespace Cluster.Grains.Text.Templates;

/// <summary>Parses expressions, one method per level of precedence, loosest first.</summary>
internal sealed class ExpressionParser(TokenCursor cursor)
{
    private static readonly string[] Comparisons = ["==", "!=", "<", "<=", ">", ">="];

    private readonly PrimaryParser _primary = new(cursor);

    /// <summary>An expression; with <paramref name="allowCondition"/> also <c>a if b else c</c>.</summary>
    public Expression Parse(bool allowCondition = true)
    {
        cursor.Enter();
        Expression value = ParseOr();
        while (allowCondition && cursor.TrySkipName("if"))
        {
            Expression condition = ParseOr();
            Expression? otherwise = cursor.TrySkipName("else") ? Parse() : null;
            value = new ConditionalExpression(value.Line, condition, value, otherwise);
        }

        cursor.Leave();
        return value;
    }

    /// <summary>An expression, or several with commas between, which are a tuple.</summary>
    public Expression ParseTuple(bool allowCondition = true)
    {
        Expression first = Parse(allowCondition);
        if (!cursor.Current.IsOperator(","))
            return first;
        var items = new List<Expression> { first };
        while (cursor.TrySkipOperator(",") && StartsExpression())
            items.Add(Parse(allowCondition));
        return new ListExpression(first.Line, items, isTuple: true);
    }

    /// <summary>Filters applied to a value that the caller has: <c>| a | b(1)</c>, the first name without its bar.</summary>
    public Expression ParseFilters(Expression value, bool firstBarIsThere)
    {
        if (!firstBarIsThere)
            value = ParseFilter(value);
        while (cursor.TrySkipOperator("|"))
            value = ParseFilter(value);
        return value;
    }

    public ArgumentList ParseArguments()
    {
        var positional = new List<Expression>();
        var named = new List<(string, Expression)>();
        (Expression? spreadList, Expression? spreadMap) = (null, null);
        cursor.ExpectOperator("(");
        while (!cursor.TrySkipOperator(")"))
        {
            if (cursor.TrySkipOperator("**"))
                spreadMap = Parse();
            else if (cursor.TrySkipOperator("*"))
                spreadList = Parse();
            else if (cursor.Current.Kind == TokenKind.Name && cursor.Following.IsOperator("="))
                named.Add((TakeNameAndSign(), Parse()));
            else
                positional.Add(Parse());
            if (!cursor.Current.IsOperator(")"))
                cursor.ExpectOperator(",");
        }

        return new ArgumentList(positional, named) { SpreadList = spreadList, SpreadMap = spreadMap };
    }

    private string TakeNameAndSign()
    {
        string name = cursor.Take().Text;
        cursor.ExpectOperator("=");
        return name;
    }

    private bool StartsExpression() => cursor.Current.Kind switch
    {
        TokenKind.BlockEnd or TokenKind.PrintEnd or TokenKind.End => false,
        TokenKind.Operator => cursor.Current.Text is "(" or "[" or "{" or "-" or "+",
        TokenKind.Name => cursor.Current.Text is not ("in" or "recursive" or "if" or "else"),
        _ => true,
    };

    private Expression ParseOr()
    {
        Expression left = ParseAnd();
        while (cursor.TrySkipName("or"))
            left = new LogicalExpression(left.Line, left, ParseAnd(), isAnd: false);
        return left;
    }

    private Expression ParseAnd()
    {
        Expression left = ParseNot();
        while (cursor.TrySkipName("and"))
            left = new LogicalExpression(left.Line, left, ParseNot(), isAnd: true);
        return left;
    }

    private Expression ParseNot()
    {
        int line = cursor.Line;
        if (!cursor.TrySkipName("not"))
            return ParseComparison();
        cursor.Enter();
        Expression operand = ParseNot();
        cursor.Leave();
        return new NotExpression(line, operand);
    }

    private Expression ParseComparison()
    {
        Expression first = ParseSum();
        var rest = new List<(string, Expression)>();
        while (TryTakeComparison() is { } symbol)
            rest.Add((symbol, ParseSum()));
        return rest.Count == 0 ? first : new ComparisonExpression(first.Line, first, rest);
    }

    private string? TryTakeComparison()
    {
        if (cursor.Current.Kind == TokenKind.Operator && Comparisons.Contains(cursor.Current.Text))
            return cursor.Take().Text;
        if (cursor.TrySkipName("in"))
            return "in";
        if (!cursor.Current.IsName("not") || !cursor.Following.IsName("in"))
            return null;
        cursor.Take();
        cursor.Take();
        return "not in";
    }

    private Expression ParseSum()
    {
        Expression left = ParseConcat();
        while (cursor.Current.IsOperator("+") || cursor.Current.IsOperator("-"))
        {
            string symbol = cursor.Take().Text;
            left = new ArithmeticExpression(left.Line, symbol, left, ParseConcat());
        }

        return left;
    }

    private Expression ParseConcat()
    {
        Expression first = ParseProduct();
        if (!cursor.Current.IsOperator("~"))
            return first;
        var parts = new List<Expression> { first };
        while (cursor.TrySkipOperator("~"))
            parts.Add(ParseProduct());
        return new ConcatExpression(first.Line, parts);
    }

    private Expression ParseProduct()
    {
        Expression left = ParsePower();
        while (cursor.Current is { Kind: TokenKind.Operator, Text: "*" or "/" or "//" or "%" })
        {
            string symbol = cursor.Take().Text;
            left = new ArithmeticExpression(left.Line, symbol, left, ParsePower());
        }

        return left;
    }

    private Expression ParsePower()
    {
        Expression left = ParseUnary(withFilters: true);
        while (cursor.TrySkipOperator("**"))
            left = new ArithmeticExpression(left.Line, "**", left, ParseUnary(withFilters: true));
        return left;
    }

    private Expression ParseUnary(bool withFilters)
    {
        int line = cursor.Line;
        Expression value;
        if (cursor.Current.IsOperator("-") || cursor.Current.IsOperator("+"))
        {
            bool negative = cursor.Take().Text == "-";
            cursor.Enter();
            value = new SignExpression(line, ParseUnary(withFilters: false), negative);
            cursor.Leave();
        }
        else
        {
            value = _primary.Parse(this);
        }

        value = _primary.ParsePostfix(value, this);
        return withFilters ? ParseFiltersAndTests(value) : value;
    }

    private Expression ParseFiltersAndTests(Expression value)
    {
        while (true)
        {
            if (cursor.TrySkipOperator("|"))
                value = ParseFilter(value);
            else if (cursor.TrySkipName("is"))
                value = ParseTest(value);
            else if (cursor.Current.IsOperator("("))
                value = new CallExpression(value.Line, value, ParseArguments());
            else
                return value;
        }
    }

    private FilterExpression ParseFilter(Expression value)
    {
        TemplateToken name = cursor.Expect(TokenKind.Name, "the name of a filter");
        TemplateFilter filter = TemplateFilters.Find(name.Text)
            ?? throw TagLexer.Wrong(name.Line, $"the filter '{name.Text}' is not supported");
        ArgumentList arguments = cursor.Current.IsOperator("(") ? ParseArguments() : ArgumentList.Empty;
        return new FilterExpression(name.Line, value, filter, arguments);
    }

    private Expression ParseTest(Expression value)
    {
        bool negated = cursor.TrySkipName("not");
        TemplateToken name = cursor.Expect(TokenKind.Name, "the name of a test");
        TemplateTest test = TemplateTests.Find(name.Text)
            ?? throw TagLexer.Wrong(name.Line, $"the test '{name.Text}' is not supported");
        ArgumentList arguments = ArgumentList.Empty;
        if (cursor.Current.IsOperator("("))
            arguments = ParseArguments();
        else if (StartsTestArgument())
            arguments = new ArgumentList([_primary.ParsePostfix(_primary.Parse(this), this)], []);
        Expression result = new TestExpression(name.Line, value, test, arguments);
        return negated ? new NotExpression(name.Line, result) : result;
    }

    private bool StartsTestArgument() => cursor.Current.Kind switch
    {
        TokenKind.Name => cursor.Current.Text is not ("else" or "or" or "and" or "is" or "if" or "in" or "not" or "recursive"),
        TokenKind.String or TokenKind.Integer or TokenKind.Float => true,
        _ => cursor.Current.IsOperator("[") || cursor.Current.IsOperator("{"),
    };
}
