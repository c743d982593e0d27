using Cluster.Contracts;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>Answers when the generation has ended.</summary>
internal sealed class UnaryAnswer(ISessionAccess access, RetryPolicy retry)
{
    /// <summary>Reads the session to its end and writes the answer.</summary>
    public async Task Run(HttpContext context, SessionDescription session, string owner, CancellationToken cancellationToken)
    {
        var answer = new AnswerWriter(session);
        await foreach (SessionEvent current in new SessionReader(access, retry).Read(session.Id, owner, 0, cancellationToken))
            answer.Add(current);
        if (session.Presentation.Echo && session.Logprobs is not null)
            session = await retry.Call(token => access.Describe(session.Id, owner, token), cancellationToken);
        await JsonText.Respond(context, StatusCodes.Status200OK, json => answer.Write(json, session));
    }
}
