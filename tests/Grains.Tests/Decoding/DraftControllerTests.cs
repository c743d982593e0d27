using Cluster.Grains.Decoding;

namespace Cluster.Grains.Tests.Decoding;

/// <summary>The controller against simulated machines and texts: it comes near the best draft length (within 30 % where kernels have cliffs) and costs less than 5 % where guessing does not pay.</summary>
public sealed class DraftControllerTests
{
    private const int Most = 8;

    public static TheoryData<string, int, double> Cases
    {
        get
        {
            var cases = new TheoryData<string, int, double>();
            foreach (string machine in new[] { "memory", "compute", "cliff" })
            {
                foreach (int batch in new[] { 1, 2, 5, 16, 64 })
                {
                    foreach (double rate in new[] { 0.05, 0.4, 0.8, 0.97 })
                        cases.Add(machine, batch, rate);
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Speed_IsNeverMuchBelowPlainDecoding_AndNearTheBestFixedLength(string machine, int batch, double rate)
    {
        const double Draft = 0.0004;
        double plain = Rate(machine, batch, rate, 0, Draft);
        double best = Enumerable.Range(0, Most + 1).Max(length => Rate(machine, batch, rate, length, Draft));
        double found = Simulate(machine, batch, _ => rate, Draft, steps: 4000);
        Assert.True(found >= 0.95 * plain, $"{found:F0} tokens/s, {plain:F0} without drafts");
        Assert.True(found >= 0.7 * best, $"{found:F0} tokens/s, {best:F0} with the best fixed length");
    }

    [Fact]
    public void TextThatBecomesPredictable_IsNoticed()
    {
        double found = Simulate("memory", 1, step => step < 2000 ? 0.02 : 0.95, draft: 0.0004, steps: 6000);
        double ideal = (2000 + 4000.0 * Expected(0.95, Most)) / ((2000 * Time("memory", 1)) + (4000 * (Time("memory", 1 + Most) + (0.0004 * Most))));
        Assert.True(found >= 0.9 * ideal, $"{found:F0} tokens/s of {ideal:F0}");
    }

    [Fact]
    public void ASequenceThatCannotBeGuessed_DoesNotSpoilTheOthers()
    {
        var controller = new DraftController();
        AcceptanceEstimate[] sequences = [new(), new()];
        var random = new Random(3);
        int[] lengths = new int[2];
        for (int step = 0; step < 2000; step++)
        {
            lengths.AsSpan().Fill(Most);
            controller.Choose(sequences, lengths);
            controller.StepTook(2 + lengths.Sum(), TimeSpan.FromSeconds(Time("cliff", 2 + lengths.Sum())));
            for (int i = 0; i < 2; i++)
                Verify(controller, sequences[i], lengths[i], i == 0 ? 0.95 : 0.02, random);
        }

        lengths.AsSpan().Fill(Most);
        controller.Choose(sequences, lengths);
        Assert.True(lengths[0] >= 3 && lengths[1] <= 1, string.Join(' ', lengths));
    }

    private static double Simulate(string machine, int batch, Func<int, double> rate, double draft, int steps)
    {
        var controller = new DraftController();
        AcceptanceEstimate[] sequences = [.. Enumerable.Range(0, batch).Select(_ => new AcceptanceEstimate())];
        var random = new Random(7);
        int[] lengths = new int[batch];
        (double seconds, long tokens) = (0, 0);
        for (int step = 0; step < steps; step++)
        {
            lengths.AsSpan().Fill(Most);
            controller.Choose(sequences, lengths);
            int longest = lengths.Max(), rows = batch + lengths.Sum();
            // Times scatter, and now and then something else takes the machine.
            double noise = 1 + (0.1 * (random.NextDouble() - 0.5)) + (random.Next(200) == 0 ? 5 : 0);
            if (longest > 0)
                controller.DraftTook(longest, TimeSpan.FromSeconds(longest * draft));
            controller.StepTook(rows, TimeSpan.FromSeconds(Time(machine, rows) * noise));
            seconds += Time(machine, rows) + (longest * draft);
            for (int i = 0; i < batch; i++)
                tokens += 1 + Verify(controller, sequences[i], lengths[i], rate(step), random);
        }

        return tokens / seconds;
    }

    private static int Verify(DraftController controller, AcceptanceEstimate sequence, int length, double rate, Random random)
    {
        int right = 0;
        while (right < length && random.NextDouble() < rate)
            right++;
        if (length > 0)
            controller.Verified(sequence, length, right);
        return right;
    }

    private static double Rate(string machine, int batch, double rate, int length, double draft) =>
        batch * Expected(rate, length) / (Time(machine, batch * (1 + length)) + (length * draft));

    private static double Expected(double rate, int length) => Enumerable.Range(0, length + 1).Sum(place => Math.Pow(rate, place));

    // Seconds of a step: bound by memory up to many rows, by arithmetic from the first row, or suddenly twice as slow beyond 6 rows.
    private static double Time(string machine, int rows) => machine switch
    {
        "memory" => Math.Max(0.01, 0.0002 * rows),
        "compute" => 0.002 * rows,
        _ => rows <= 6 ? 0.01 : 0.02 + (0.001 * rows),
    };
}
