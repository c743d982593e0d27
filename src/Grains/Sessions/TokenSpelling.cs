using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Text;
using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Text;

namespace Cluster.Grains.Sessions;

/// <summary>Spells tokens in log-probabilities: as text, or as token_id:N when there is no tokenizer or the request asks for it.</summary>
internal sealed class TokenSpelling(Tokenizer? tokenizer, bool asTokenIds)
{
    /// <summary>A generated token with its alternatives.</summary>
    public TokenLogprob Spell(GeneratedToken token) => new(Spell(token.Token, token.Logprob), Spell(token.Top));

    /// <summary>A prompt token with its alternatives.</summary>
    public TokenLogprob Spell(ScoredToken token) => new(Spell(token.Token, token.Logprob), Spell(token.Top));

    /// <summary>One token.</summary>
    public TokenAlternative Spell(int token, float logprob)
    {
        if (tokenizer is not null && !asTokenIds)
            return new TokenAlternative(token, tokenizer.TokenText(token), [.. tokenizer.TokenBytes(token).Span], logprob);
        string text = $"token_id:{token}";
        return new TokenAlternative(token, text, ImmutableCollectionsMarshal.AsImmutableArray(Encoding.UTF8.GetBytes(text)), logprob);
    }

    private ImmutableArray<TokenAlternative> Spell(ImmutableArray<ScoredToken> top)
    {
        if (top.IsDefaultOrEmpty)
            return [];
        var spelled = new TokenAlternative[top.Length];
        for (int i = 0; i < spelled.Length; i++)
            spelled[i] = Spell(top[i].Token, top[i].Logprob);
        return ImmutableCollectionsMarshal.AsImmutableArray(spelled);
    }
}
