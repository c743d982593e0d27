namespace Cluster.Grains.Text.Templates;

/// <summary>
/// Cuts a template into text and tags as Jinja does with trim_blocks and lstrip_blocks on: a line break right after a
/// block or comment goes, and so does white space before one that begins its line. <c>-</c> takes all white space on
/// its side, <c>+</c> keeps it.
/// </summary>
internal sealed class TemplateLexer
{
    private readonly List<TemplateToken> _tokens = [];
    private readonly string _source;
    private int _position;
    private int _line = 1;
    private int _lineCountedTo;

    private TemplateLexer(string source) => _source = source;

    public static List<TemplateToken> Read(string source, TemplateLimits limits)
    {
        if (source.Length > limits.SourceLength)
        {
            throw new ChatTemplateException(ChatTemplateFailure.Limit,
                $"the chat template has {source.Length} characters; at most {limits.SourceLength} are read");
        }

        source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        var lexer = new TemplateLexer(source.EndsWith('\n') ? source[..^1] : source);
        lexer.Run();
        return lexer._tokens;
    }

    private void Run()
    {
        while (NextTag() is >= 0 and int start)
        {
            char kind = _source[start + 1];
            AddText(start, isBlock: kind != '{');
            _position = start + 2;
            if (_position < _source.Length && _source[_position] is '-' or '+')
                _position++;
            switch (kind)
            {
                case '#':
                    SkipComment();
                    break;
                case '%' when TryReadRaw():
                    break;
                default:
                    ReadTag(isBlock: kind == '%');
                    break;
            }
        }

        if (_position < _source.Length)
            Add(TokenKind.Text, _source[_position..]);
        Add(TokenKind.End, "");
    }

    private int NextTag()
    {
        for (int i = _position; ; i++)
        {
            i = _source.IndexOf('{', i);
            if (i < 0 || i + 1 >= _source.Length)
                return -1;
            if (_source[i + 1] is '{' or '%' or '#')
                return i;
        }
    }

    // The text between the last tag and the tag at 'end', without the white space that the tag takes.
    private void AddText(int end, bool isBlock)
    {
        ReadOnlySpan<char> text = _source.AsSpan(_position, end - _position);
        char sign = end + 2 < _source.Length ? _source[end + 2] : ' ';
        if (sign == '-')
        {
            text = PythonText.TrimEnd(text);
        }
        else if (sign != '+' && isBlock)
        {
            int lineStart = text.LastIndexOf('\n') + 1;
            bool beginsLine = lineStart > 0 || _position == 0 || _source[_position - 1] == '\n';
            if (beginsLine && PythonText.TrimEnd(text[lineStart..]).IsEmpty)
                text = text[..lineStart];
        }

        if (!text.IsEmpty)
            Add(TokenKind.Text, text.ToString());
    }

    private void SkipComment()
    {
        int end = _source.IndexOf("#}", _position, StringComparison.Ordinal);
        if (end < 0)
            throw Wrong("a comment has no end");
        char sign = end > _position ? _source[end - 1] : ' ';
        _position = end + 2;
        SkipAfterBlock(sign);
    }

    private void SkipAfterBlock(char sign)
    {
        if (sign == '-')
            SkipWhiteSpace();
        else if (sign != '+' && _position < _source.Length && _source[_position] == '\n')
            _position++;
    }

    private void SkipWhiteSpace()
    {
        while (_position < _source.Length && PythonText.IsWhiteSpace(_source[_position]))
            _position++;
    }

    private bool TryReadRaw()
    {
        int afterRaw = KeywordEnd(_position, "raw");
        if (afterRaw < 0)
            return false;
        _position = afterRaw;
        bool trims = _source[_position] == '-';
        _position = _source.IndexOf("%}", _position, StringComparison.Ordinal) + 2;
        if (trims)
            SkipWhiteSpace();
        for (int tag = _position; ; tag++)
        {
            tag = _source.IndexOf("{%", tag, StringComparison.Ordinal);
            if (tag < 0)
                throw Wrong("a raw block has no end");
            int inside = tag + 2 < _source.Length && _source[tag + 2] is '-' or '+' ? tag + 3 : tag + 2;
            int afterEnd = KeywordEnd(inside, "endraw");
            if (afterEnd < 0)
                continue;
            AddText(tag, isBlock: true);
            _position = _source.IndexOf("%}", afterEnd, StringComparison.Ordinal) + 2;
            SkipAfterBlock(_source[_position - 3]);
            return true;
        }
    }

    // The place of the tag's end sign if the tag at 'from' consists of the keyword alone, else -1.
    private int KeywordEnd(int from, string keyword)
    {
        while (from < _source.Length && PythonText.IsWhiteSpace(_source[from]))
            from++;
        if (string.CompareOrdinal(_source, from, keyword, 0, keyword.Length) != 0)
            return -1;
        from += keyword.Length;
        while (from < _source.Length && PythonText.IsWhiteSpace(_source[from]))
            from++;
        int end = from < _source.Length && _source[from] is '-' or '+' ? from + 1 : from;
        return string.CompareOrdinal(_source, end, "%}", 0, 2) == 0 ? from : -1;
    }

    private void ReadTag(bool isBlock)
    {
        Add(isBlock ? TokenKind.BlockBegin : TokenKind.PrintBegin, "");
        string close = isBlock ? "%}" : "}}";
        int openBrackets = 0;
        while (true)
        {
            SkipWhiteSpace();
            if (_position >= _source.Length)
                throw Wrong("a tag has no end");
            if (openBrackets == 0 && TryEndTag(close, isBlock))
                return;
            CountLines();
            TemplateToken token = TagLexer.Next(_source, ref _position, _line);
            _tokens.Add(token);
            if (token.Kind == TokenKind.Operator && token.Text is "(" or "[" or "{")
                openBrackets++;
            else if (token.Kind == TokenKind.Operator && token.Text is ")" or "]" or "}" && --openBrackets < 0)
                throw Wrong($"'{token.Text}' closes nothing");
        }
    }

    private bool TryEndTag(string close, bool isBlock)
    {
        char sign = _source[_position];
        bool signed = sign == '-' || (sign == '+' && isBlock);
        if (string.CompareOrdinal(_source, _position + (signed ? 1 : 0), close, 0, close.Length) != 0)
            return false;
        _position += close.Length + (signed ? 1 : 0);
        Add(isBlock ? TokenKind.BlockEnd : TokenKind.PrintEnd, "");
        if (isBlock)
            SkipAfterBlock(sign);
        else if (sign == '-')
            SkipWhiteSpace();
        return true;
    }

    private void Add(TokenKind kind, string text)
    {
        CountLines();
        _tokens.Add(new TemplateToken(kind, text, _line));
    }

    private void CountLines()
    {
        if (_position > _lineCountedTo)
        {
            _line += _source.AsSpan(_lineCountedTo, _position - _lineCountedTo).Count('\n');
            _lineCountedTo = _position;
        }
    }

    private ChatTemplateException Wrong(string problem)
    {
        CountLines();
        return TagLexer.Wrong(_line, problem);
    }
}
