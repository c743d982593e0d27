namespace Cluster.Grains.Text.Templates;

/// <summary>A parsed template.</summary>
/// <param name="Body">Its statements.</param>
/// <param name="ReadsContentParts">Whether it goes through the parts of a message's content itself.</param>
internal sealed record ParsedTemplate(Statement Body, bool ReadsContentParts);

/// <summary>
/// Messages whose content is a list of parts, as OpenAI's clients may send it. Most templates expect one text: for them
/// the text parts are joined with line breaks, as vLLM does it.
/// </summary>
internal static class ContentParts
{
    private const string Content = "content";

    /// <summary>Whether a loop over the expression goes through the parts of a content.</summary>
    public static bool IsContent(Expression expression) => expression switch
    {
        NameExpression name => name.Name == Content,
        AttributeExpression attribute => attribute.Name == Content,
        ItemExpression { Key: LiteralExpression key } => key.Value is Content,
        _ => false,
    };

    /// <summary>The messages with every list of parts joined to one text.</summary>
    public static object? Join(object? messages) => messages is TemplateList list
        ? new TemplateList([.. list.Select(message => message is TemplateMap map ? Join(map) : message)])
        : messages;

    private static TemplateMap Join(TemplateMap message)
    {
        if (!message.TryGet(Content, out object? content) || content is not TemplateList parts)
            return message;
        var joined = new TemplateMap();
        foreach ((object? key, object? value) in message)
            joined.Set(key, key is Content ? string.Join('\n', parts.Select(Text)) : value);
        return joined;
    }

    private static string Text(object? part)
    {
        if (part is string plain)
            return plain;
        if (part is TemplateMap map && map.TryGet("text", out object? text) && text is string value)
            return value;
        object? type = part is TemplateMap typed && typed.TryGet("type", out object? name) ? name : null;
        throw TemplateTypes.Fault($"a content part of type '{type ?? TemplateTypes.Name(part)}' is not supported; this model takes text");
    }
}
