using Cluster.Grains.Decoding;
using Cluster.Grains.Replicas;
using Cluster.Grains.Scheduling;
using CsCheck;

namespace Cluster.Grains.Tests.Decoding;

/// <summary>A verified draft gives what plain decoding gives, only sooner.</summary>
public sealed class CoupledDecodingTests
{
    private const int Stop = 2;

    private static readonly Gen<(int[] Path, int[] Draft, int Room)> Cases = Gen.Select(
        Gen.Int[0, Stop].Array[9], Gen.Int[0, Stop].Array[0, 8], Gen.Int[1, 9], (path, draft, room) => (path, draft, room));

    [Fact]
    public void AnyDraft_EmitsWhatPlainDecodingEmits() => Cases.Sample(
        sample =>
        {
            int[] draft = sample.Draft.Length < sample.Room ? sample.Draft : sample.Draft[..(sample.Room - 1)];
            (int[] plain, SequenceEnd? end) = Plain(sample.Path, sample.Room);
            var sequence = new Sequence(0, "s", [5, 6, 7], [], sample.Room);
            sequence.Propose(draft);
            Advance advance = CoupledDecoding.After(new ScheduledRows(sequence, 1, 2 + draft.Length, true, 0, 0, draft.Length), sample.Path.AsSpan(0, 1 + draft.Length), [Stop]);
            Assert.Equal(plain[..advance.Emitted], sample.Path[..advance.Emitted]);
            Assert.Equal(1 + advance.Emitted, advance.Retained);
            int right = draft.Zip(plain).TakeWhile(pair => pair.First == pair.Second).Count();
            Assert.Equal(Math.Min(1 + right, plain.Length), advance.Emitted);
            Assert.Equal(advance.Emitted == plain.Length ? end : null, advance.End);
        },
        iter: 20_000);

    [Fact]
    public void Chunk_EmitsNothing()
    {
        var sequence = new Sequence(0, "s", [5, 6, 7], [], 4);
        Assert.Equal(new Advance(0, 2, null), CoupledDecoding.After(new ScheduledRows(sequence, 0, 2, false, 0, 0), [], [Stop]));
    }

    [Fact]
    public void WrongNumberOfDraws_IsRefused()
    {
        var sequence = new Sequence(0, "s", [5, 6, 7], [], 4);
        sequence.Propose([1]);
        Assert.Throws<InvalidOperationException>(() => CoupledDecoding.After(new ScheduledRows(sequence, 0, 4, true, 0, 0, 1), [1], [Stop]));
    }

    // Token by token, to the first stop token or to the limit (the path may be shorter: then it goes on).
    private static (int[] Tokens, SequenceEnd? End) Plain(int[] path, int room)
    {
        for (int i = 0; i < path.Length; i++)
        {
            if (path[i] == Stop)
                return (path[..(i + 1)], SequenceEnd.StopToken);
            if (i + 1 == room)
                return (path[..(i + 1)], SequenceEnd.Length);
        }

        return (path, null);
    }
}
