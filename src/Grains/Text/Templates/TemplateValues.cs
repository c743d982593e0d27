using System.Collections;
using System.Diagnostics.CodeAnalysis;

namespace Cluster.Grains.Text.Templates;

// Values of a template are: null (None), bool, long, BigInteger (whole numbers of JSON beyond long), double, string,
// and the types of this file.

/// <summary>A name or member that is not there. Prints as nothing and is false; using it otherwise is an error.</summary>
internal sealed class Undefined(string description)
{
    public ChatTemplateException Fault() => new(ChatTemplateFailure.Evaluation, description);
}

/// <summary>A list or a tuple. Immutable, as Hugging Face's sandbox demands.</summary>
internal sealed class TemplateList(IReadOnlyList<object?> items, bool isTuple = false) : IReadOnlyList<object?>
{
    public bool IsTuple { get; } = isTuple;

    public int Count => items.Count;

    public object? this[int index] => items[index];

    public IEnumerator<object?> GetEnumerator() => items.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>A dictionary that keeps the order of its keys. Filled once, then immutable.</summary>
internal sealed class TemplateMap : IEnumerable<KeyValuePair<object?, object?>>
{
    private readonly OrderedDictionary<Key, object?> _entries = [];

    public int Count => _entries.Count;

    public IEnumerable<object?> Keys => _entries.Keys.Select(key => key.Value);

    public IEnumerable<object?> Values => _entries.Values;

    public void Set(object? key, object? value) => _entries[new Key(key)] = value;

    public bool TryGet(object? key, out object? value) => _entries.TryGetValue(new Key(key), out value);

    public bool Contains(object? key) => _entries.ContainsKey(new Key(key));

    public IEnumerator<KeyValuePair<object?, object?>> GetEnumerator() =>
        _entries.Select(entry => KeyValuePair.Create(entry.Key.Value, entry.Value)).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    // Equality of Python's keys: 1, 1.0 and True are one key.
    private readonly struct Key : IEquatable<Key>
    {
        public Key(object? value)
        {
            if (value is not (null or string or bool or long or double or System.Numerics.BigInteger)
                && value is not TemplateList { IsTuple: true })
            {
                throw TemplateTypes.Fault($"unhashable type: '{TemplateTypes.Name(value)}'");
            }

            Value = value;
        }

        public object? Value { get; }

        public bool Equals(Key other) => TemplateComparison.AreEqual(Value, other.Value);

        public override bool Equals([NotNullWhen(true)] object? obj) => obj is Key other && Equals(other);

        public override int GetHashCode() => Value switch
        {
            null => 0,
            string text => string.GetHashCode(text),
            TemplateList list => list.Count,
            _ => TemplateTypes.ToDouble(Value).GetHashCode(),
        };
    }
}

/// <summary>What <c>namespace()</c> makes: the one value whose attributes a template may set.</summary>
internal sealed class TemplateNamespace
{
    public Dictionary<string, object?> Attributes { get; } = [];
}

/// <summary>Something a template can call: a macro, a global function, a bound method.</summary>
internal abstract class TemplateCallable
{
    public abstract object? Call(RenderContext context, Arguments arguments);
}

/// <summary>A callable made of a delegate.</summary>
internal sealed class TemplateFunction(Func<RenderContext, Arguments, object?> body) : TemplateCallable
{
    public override object? Call(RenderContext context, Arguments arguments) => body(context, arguments);
}
