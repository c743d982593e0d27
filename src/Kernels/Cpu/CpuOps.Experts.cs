using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

internal sealed unsafe partial class CpuOps
{
    public void RouteTopK(int rows, DeviceBuffer logits, bool renormalise, ExpertRouting routing)
    {
        var chosen = (CpuRouting)routing;
        if (rows > routing.MaxRows || routing.TopK > logits.Columns)
            throw new ArgumentException($"Routing for {routing.MaxRows} rows and {routing.TopK} experts does not fit {rows} rows of {logits.Columns} experts.");
        chosen.ExpertCount = logits.Columns;
        float* row = Matrix(logits, rows, logits.Columns);
        for (int i = 0; i < rows; i++, row += logits.Columns)
            RouteRow(row, logits.Columns, renormalise, routing.TopK, chosen.Experts + ((long)i * routing.TopK), chosen.Factors + ((long)i * routing.TopK));
    }

    public void ExpertMlp(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing, DeviceBuffer output)
    {
        ExpertStep step = RunExperts(rows, input, experts, routing);
        Combine(rows, step.Results, step.Places, (CpuRouting)routing, Matrix(output, rows, experts.Hidden), output.Columns, experts.Hidden);
    }

    public void ExpertOutputs(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing, DeviceBuffer output, int firstRow)
    {
        ExpertStep step = RunExperts(rows, input, experts, routing);
        float* to = Matrix(output, firstRow + step.Assignments, experts.Hidden) + ((long)firstRow * output.Columns);
        for (int i = 0; i < step.Assignments; i++, to += output.Columns)
            new Span<float>(step.Results + ((long)step.Places[i] * experts.Hidden), experts.Hidden).CopyTo(new Span<float>(to, experts.Hidden));
    }

    public void CombineExperts(int rows, DeviceBuffer outputs, int firstRow, ExpertRouting routing, DeviceBuffer output)
    {
        int hidden = outputs.Columns;
        float* results = Matrix(outputs, firstRow + (rows * routing.TopK), hidden) + ((long)firstRow * hidden);
        Combine(rows, results, null, (CpuRouting)routing, Matrix(output, rows, hidden), output.Columns, hidden);
    }

    /// <summary>down(silu(gate x) * up x) of every assignment, at the places of the plan.</summary>
    private ExpertStep RunExperts(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing)
    {
        var weights = (CpuExperts)experts;
        var chosen = (CpuRouting)routing;
        if (chosen.ExpertCount != experts.Experts || rows > routing.MaxRows)
            throw new ArgumentException($"Routing of {routing.MaxRows} rows over {chosen.ExpertCount} experts does not fit {rows} rows and {experts.Experts} experts.");
        float* x = Matrix(input, rows, experts.Hidden);
        ExpertStep step = PlanExperts(rows, weights, chosen);
        for (int i = 0; i < step.Assignments; i++)
            new Span<float>(x + ((long)(step.Rows[i] / routing.TopK) * input.Columns), experts.Hidden).CopyTo(new Span<float>(step.Inputs + ((long)i * experts.Hidden), experts.Hidden));

        RunExperts(step, weights.GateUp, step.Inputs, step.GateUp);
        _kernels.GatedSilu(_pool, new RowJob
        {
            Rows = step.Assignments,
            Width = experts.Intermediate,
            X = step.GateUp,
            XStride = 2L * experts.Intermediate,
            Y = step.Inner,
            YStride = experts.Intermediate,
        });
        RunExperts(step, weights.Down, step.Inner, step.Results);
        return step;
    }

    /// <summary>Groups the assignments by expert.</summary>
    private ExpertStep PlanExperts(int rows, CpuExperts weights, CpuRouting routing)
    {
        int assignments = rows * routing.TopK;
        long floats = (long)assignments * ((2L * weights.Hidden) + (3L * weights.Intermediate));
        long headBytes = (((long)weights.Experts * sizeof(LinearJob)) + (4L * (weights.Experts + 1 + (2L * assignments))) + 63) & ~63L;
        byte* scratch = _expertScratch.Get(headBytes + (4 * floats)).Pointer;
        var step = new ExpertStep { Assignments = assignments, Jobs = (LinearJob*)scratch };
        step.Starts = (int*)(step.Jobs + weights.Experts);
        step.Rows = step.Starts + weights.Experts + 1;
        step.Places = step.Rows + assignments;
        step.Inputs = (float*)(scratch + headBytes);
        step.GateUp = step.Inputs + ((long)assignments * weights.Hidden);
        step.Inner = step.GateUp + (2L * assignments * weights.Intermediate);
        step.Results = step.Inner + ((long)assignments * weights.Intermediate);

        int* starts = step.Starts;
        new Span<int>(starts, weights.Experts + 1).Clear();
        for (int i = 0; i < assignments; i++)
            starts[routing.Experts[i]]++;
        int sum = 0;
        for (int e = 0; e <= weights.Experts; e++)
        {
            int count = starts[e];
            starts[e] = sum;
            sum += count;
        }

        for (int i = 0; i < assignments; i++)
        {
            int place = starts[routing.Experts[i]]++;
            (step.Rows[place], step.Places[i]) = (i, place);
        }

        return step;
    }

    /// <summary>One region for all experts that have rows. After planning, Starts[e] is the end of expert e.</summary>
    private void RunExperts(in ExpertStep step, CpuLinear[] weights, float* inputs, float* outputs)
    {
        int jobs = 0, start = 0;
        for (int e = 0; e < weights.Length; e++)
        {
            int rows = step.Starts[e] - start;
            if (rows > 0)
            {
                CpuLinear weight = weights[e];
                LinearJob job = JobFor(weight, rows, inputs + ((long)start * weight.InFeatures), weight.InFeatures);
                job.Y = outputs + ((long)start * weight.OutFeatures);
                job.YStride = weight.OutFeatures;
                step.Jobs[jobs++] = job;
            }

            start = step.Starts[e];
        }

        _kernels.Linear(_pool, step.Jobs, jobs, _linearScratch, _rowScratch);
    }

    /// <summary>Sums a row's experts by ascending id, then adds the sum to the output.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="results">Outputs of the assignments.</param>
    /// <param name="places">Place of each assignment among them; null: in order.</param>
    /// <param name="routing">Factors.</param>
    /// <param name="output">What is added to.</param>
    /// <param name="stride">Its distance between rows.</param>
    /// <param name="hidden">Columns.</param>
    private void Combine(int rows, float* results, int* places, CpuRouting routing, float* output, long stride, int hidden)
    {
        var sum = (float*)_normScratch.Get(4L * hidden).Pointer;
        for (int row = 0; row < rows; row++, output += stride)
        {
            new Span<float>(sum, hidden).Clear();
            for (int k = 0; k < routing.TopK; k++)
            {
                int assignment = (row * routing.TopK) + k;
                _kernels.AddScaled(sum, results + ((long)(places is null ? assignment : places[assignment]) * hidden), routing.Factors[assignment], hidden);
            }

            _kernels.AddScaled(output, sum, 1, hidden);
        }
    }

    private static void RouteRow(float* logits, int experts, bool renormalise, int topK, int* ids, float* factors)
    {
        float maximum = logits[0];
        for (int e = 1; e < experts; e++)
            maximum = MathF.Max(maximum, logits[e]);
        float total = 0;
        for (int e = 0; e < experts; e++)
            total += LaneMath<LanesScalar, float>.Exp(logits[e] - maximum);
        float chosenTotal = 0;
        for (int k = 0; k < topK; k++)
        {
            int best = Best(logits, experts, new ReadOnlySpan<int>(ids, k));
            float factor = LaneMath<LanesScalar, float>.Exp(logits[best] - maximum) / total;
            chosenTotal += factor;
            (ids[k], factors[k]) = (best, factor);
        }

        SortById(topK, ids, factors);
        for (int k = 0; renormalise && k < topK; k++)
            factors[k] /= chosenTotal;
    }

    private static int Best(float* logits, int experts, ReadOnlySpan<int> taken)
    {
        int best = -1;
        for (int e = 0; e < experts; e++)
        {
            if ((best < 0 || logits[e] > logits[best]) && !taken.Contains(e))
                best = e;
        }

        return best;
    }

    private static void SortById(int count, int* ids, float* factors)
    {
        for (int i = 1; i < count; i++)
        {
            for (int j = i; j > 0 && ids[j - 1] > ids[j]; j--)
            {
                (ids[j - 1], ids[j]) = (ids[j], ids[j - 1]);
                (factors[j - 1], factors[j]) = (factors[j], factors[j - 1]);
            }
        }
    }

    /// <summary>Scratch of one call: assignments (row times chosen expert) grouped by expert.</summary>
    private struct ExpertStep
    {
        public int Assignments;
        public LinearJob* Jobs;
        public int* Starts;

        /// <summary>Assignment at each place.</summary>
        public int* Rows;

        /// <summary>Place of each assignment.</summary>
        public int* Places;
        public float* Inputs;
        public float* GateUp;
        public float* Inner;
        public float* Results;
    }
}
