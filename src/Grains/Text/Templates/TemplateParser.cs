namespace Cluster.Grains.Text.Templates;

/// <summary>Parses a whole template: text, printed expressions and statements.</summary>
internal sealed class TemplateParser
{
    private readonly TokenCursor _cursor;
    private readonly ExpressionParser _expressions;
    private int _loopDepth;
    private bool _readsContentParts;

    private TemplateParser(TokenCursor cursor)
    {
        _cursor = cursor;
        _expressions = new ExpressionParser(cursor);
    }

    public static ParsedTemplate Parse(string source, TemplateLimits limits)
    {
        var parser = new TemplateParser(new TokenCursor(TemplateLexer.Read(source, limits), limits));
        Statement body = parser.ParseBody(out string end);
        return end.Length == 0
            ? new ParsedTemplate(body, parser._readsContentParts)
            : throw parser._cursor.Wrong($"'{end}' ends nothing");
    }

    // Statements up to a tag that is one of the ends, whose name is taken; without ends: to the template's end.
    private BlockStatement ParseBody(out string end, params string[] ends)
    {
        _cursor.Enter();
        int line = _cursor.Line;
        var statements = new List<Statement>();
        end = "";
        while (_cursor.Current.Kind != TokenKind.End)
        {
            TemplateToken token = _cursor.Take();
            if (token.Kind == TokenKind.Text)
            {
                statements.Add(new TextStatement(token.Line, token.Text));
            }
            else if (token.Kind == TokenKind.PrintBegin)
            {
                statements.Add(new PrintStatement(token.Line, _expressions.ParseTuple()));
                _cursor.Expect(TokenKind.PrintEnd, "'}}'");
            }
            else
            {
                TemplateToken name = _cursor.Expect(TokenKind.Name, "the name of a statement");
                if (ends.Contains(name.Text))
                {
                    end = name.Text;
                    break;
                }

                statements.Add(ParseStatement(name));
            }
        }

        if (end.Length == 0 && ends.Length > 0)
            throw _cursor.Wrong($"'{ends[^1]}' is missing");
        _cursor.Leave();
        return new BlockStatement(line, statements);
    }

    private Statement ParseBodyAndEnd(string end)
    {
        Statement body = ParseBody(out _, end);
        EndTag();
        return body;
    }

    private void EndTag() => _cursor.Expect(TokenKind.BlockEnd, "'%}'");

    private Statement ParseStatement(TemplateToken name)
    {
        switch (name.Text)
        {
            case "if": return ParseIf(name.Line);
            case "for": return ParseFor(name.Line);
            case "set": return ParseSet(name.Line);
            case "macro": return ParseMacro(name.Line);
            case "call": return ParseCall(name.Line);
            case "filter": return ParseFilterBlock(name.Line);
            case "with": return ParseWith(name.Line);
            case "generation":
                EndTag();
                return ParseBodyAndEnd("endgeneration");
            case "break" or "continue":
                if (_loopDepth == 0)
                    throw TagLexer.Wrong(name.Line, $"'{name.Text}' stands outside a loop");
                EndTag();
                return new FlowStatement(name.Line, name.Text == "break" ? Flow.Break : Flow.Continue);
            default:
                throw TagLexer.Wrong(name.Line, $"the statement '{name.Text}' is not supported here");
        }
    }

    private IfStatement ParseIf(int line)
    {
        Expression condition = _expressions.ParseTuple();
        EndTag();
        Statement then = ParseBody(out string end, "elif", "else", "endif");
        Statement? otherwise = null;
        if (end == "elif")
        {
            _cursor.Enter();
            otherwise = ParseIf(_cursor.Line);
            _cursor.Leave();
            return new IfStatement(line, condition, then, otherwise);
        }

        EndTag();
        if (end == "else")
            otherwise = ParseBodyAndEnd("endif");
        return new IfStatement(line, condition, then, otherwise);
    }

    private ForStatement ParseFor(int line)
    {
        AssignmentTarget target = ParseTargets(allowAttribute: false);
        _cursor.ExpectName("in");
        Expression iterable = _expressions.ParseTuple(allowCondition: false);
        _readsContentParts |= ContentParts.IsContent(iterable);
        Expression? filter = _cursor.TrySkipName("if") ? _expressions.Parse() : null;
        bool recursive = _cursor.TrySkipName("recursive");
        EndTag();
        _loopDepth++;
        Statement body = ParseBody(out string end, "else", "endfor");
        _loopDepth--;
        EndTag();
        Statement? otherwise = end == "else" ? ParseBodyAndEnd("endfor") : null;
        return new ForStatement(line, target, iterable, filter, body, otherwise, recursive);
    }

    private Statement ParseSet(int line)
    {
        AssignmentTarget target = ParseTargets(allowAttribute: true);
        if (_cursor.TrySkipOperator("="))
        {
            Expression value = _expressions.ParseTuple();
            EndTag();
            return new SetStatement(line, target, value);
        }

        Expression Filtered(Expression text) => _expressions.ParseFilters(text, firstBarIsThere: true);
        return new SetStatement(line, target, ParseCaptured(line, Filtered, "endset"));
    }

    private PrintStatement ParseFilterBlock(int line)
    {
        Expression Filtered(Expression text) => _expressions.ParseFilters(text, firstBarIsThere: false);
        return new PrintStatement(line, ParseCaptured(line, Filtered, "endfilter"));
    }

    // A block's text as an expression, through the filters that stand in its opening tag.
    private Expression ParseCaptured(int line, Func<Expression, Expression> filters, string end)
    {
        Statement? body = null;
        var text = new HeldExpression(line, context =>
            context.Capture(new Scope(context.Scope), inner => body!.Execute(inner)));
        Expression filtered = filters(text);
        EndTag();
        body = OutsideLoop(() => ParseBodyAndEnd(end));
        return filtered;
    }

    private MacroStatement ParseMacro(int line)
    {
        string name = _cursor.Expect(TokenKind.Name, "the macro's name").Text;
        List<(string, Expression?)> parameters = ParseParameters();
        EndTag();
        Statement body = OutsideLoop(() => ParseBodyAndEnd("endmacro"));
        return new MacroStatement(line, name, new MacroDefinition(name, parameters, body));
    }

    private CallStatement ParseCall(int line)
    {
        List<(string, Expression?)> parameters = _cursor.Current.IsOperator("(") ? ParseParameters() : [];
        if (_expressions.Parse() is not CallExpression call)
            throw TagLexer.Wrong(line, "'call' needs a call");
        EndTag();
        Statement body = OutsideLoop(() => ParseBodyAndEnd("endcall"));
        return new CallStatement(line, call, new MacroDefinition("caller", parameters, body));
    }

    private List<(string Name, Expression? Default)> ParseParameters()
    {
        var parameters = new List<(string, Expression?)>();
        _cursor.ExpectOperator("(");
        while (!_cursor.TrySkipOperator(")"))
        {
            string name = _cursor.Expect(TokenKind.Name, "a parameter's name").Text;
            parameters.Add((name, _cursor.TrySkipOperator("=") ? _expressions.Parse() : null));
            if (!_cursor.Current.IsOperator(")"))
                _cursor.ExpectOperator(",");
        }

        return parameters;
    }

    private WithStatement ParseWith(int line)
    {
        var variables = new List<(AssignmentTarget, Expression)>();
        while (_cursor.Current.Kind != TokenKind.BlockEnd)
        {
            AssignmentTarget target = ParseTarget(allowAttribute: false);
            _cursor.ExpectOperator("=");
            variables.Add((target, _expressions.Parse()));
            if (!_cursor.TrySkipOperator(","))
                break;
        }

        EndTag();
        return new WithStatement(line, variables, ParseBodyAndEnd("endwith"));
    }

    private AssignmentTarget ParseTargets(bool allowAttribute)
    {
        AssignmentTarget first = ParseTarget(allowAttribute);
        if (!_cursor.Current.IsOperator(","))
            return first;
        var targets = new List<AssignmentTarget> { first };
        while (_cursor.TrySkipOperator(",") && !_cursor.Current.IsOperator("="))
            targets.Add(ParseTarget(allowAttribute));
        return new TupleTarget(targets);
    }

    private AssignmentTarget ParseTarget(bool allowAttribute)
    {
        if (_cursor.TrySkipOperator("("))
        {
            _cursor.Enter();
            AssignmentTarget inner = ParseTargets(allowAttribute);
            _cursor.Leave();
            _cursor.ExpectOperator(")");
            return inner;
        }

        TemplateToken name = _cursor.Expect(TokenKind.Name, "a variable's name");
        if (name.Text is "true" or "false" or "none" or "True" or "False" or "None")
            throw TagLexer.Wrong(name.Line, $"'{name.Text}' cannot be assigned");
        if (!allowAttribute || !_cursor.TrySkipOperator("."))
            return new NameTarget(name.Text);
        string attribute = _cursor.Expect(TokenKind.Name, "an attribute's name").Text;
        return new NamespaceTarget(new NameExpression(name.Line, name.Text), attribute);
    }

    // 'break' cannot leave a macro or a captured block for a loop around it.
    private Statement OutsideLoop(Func<Statement> parse)
    {
        int depth = _loopDepth;
        _loopDepth = 0;
        Statement statement = parse();
        _loopDepth = depth;
        return statement;
    }
}
