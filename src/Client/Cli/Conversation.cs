using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary>What was said so far.</summary>
internal sealed class Conversation(string? system)
{
    private string? _system = system;
    private ImmutableArray<ChatMessage> _turns = [];

    /// <summary>All messages with a new one of the user at the end.</summary>
    public ImmutableArray<ChatMessage> With(string user) =>
        [.. _system is null ? [] : new[] { new ChatMessage { Role = "system", Content = _system } }, .. _turns, new ChatMessage { Role = "user", Content = user }];

    /// <summary>Keeps a turn. What was heard of a stopped answer stays part of it.</summary>
    public void Add(string user, string assistant) =>
        _turns = [.. _turns, new ChatMessage { Role = "user", Content = user }, new ChatMessage { Role = "assistant", Content = assistant }];

    /// <summary>Obeys a slash command and says what was done; null if there is no such command.</summary>
    public string? Obey(string line)
    {
        string[] parts = line.Split(' ', 2, StringSplitOptions.TrimEntries);
        switch (parts[0])
        {
            case "/system":
                _system = parts.Length > 1 && parts[1].Length > 0 ? parts[1] : null;
                return _system is null ? "No system message." : "System message set.";
            case "/clear":
                _turns = [];
                return "Started anew.";
            default:
                return null;
        }
    }
}
