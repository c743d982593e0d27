namespace Cluster.Grains.Text;

/// <summary>What went wrong with a chat template.</summary>
internal enum ChatTemplateFailure
{
    /// <summary>The checkpoint has no chat template, or none of the name asked for.</summary>
    Missing,

    /// <summary>The template's text is not valid, or uses a part of the language that is not supported.</summary>
    Syntax,

    /// <summary>The template itself refused the conversation (<c>raise_exception</c>).</summary>
    Raised,

    /// <summary>The conversation does not fit the template, such as text joined with a missing value.</summary>
    Evaluation,

    /// <summary>Rendering went beyond a bound on work, text or nesting.</summary>
    Limit,
}

/// <summary>
/// A conversation that a chat template cannot render. The message is written for the caller, who gets it as HTTP 400.
/// </summary>
internal sealed class ChatTemplateException(ChatTemplateFailure failure, string message, Exception? innerException = null)
    : Exception(message, innerException)
{
    public ChatTemplateFailure Failure { get; } = failure;
}
