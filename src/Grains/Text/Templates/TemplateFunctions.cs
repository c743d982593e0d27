namespace Cluster.Grains.Text.Templates;

/// <summary>The global names of a chat template besides its variables.</summary>
internal static class TemplateFunctions
{
    private const int LongestRange = 1_000_000;

    /// <summary>A scope that holds them. Made for each rendering, since templates may hide names.</summary>
    public static Scope NewGlobals()
    {
        var globals = new Scope(null);
        globals.Set("range", new TemplateFunction(Range));
        globals.Set("namespace", new TemplateFunction((_, arguments) => Namespace(arguments)));
        globals.Set("dict", new TemplateFunction((_, arguments) => Dict(arguments)));
        globals.Set("raise_exception", new TemplateFunction(RaiseException));
        globals.Set("strftime_now", new TemplateFunction((context, arguments) => context.Budget.Made(
            TimeFormat.Format(context.Time.GetLocalNow(), arguments.RequiredText(0, "format")))));
        return globals;
    }

    private static TemplateList Range(RenderContext context, Arguments arguments)
    {
        bool single = arguments.Count == 1;
        long start = single ? 0 : Whole(arguments, 0);
        long stop = Whole(arguments, single ? 0 : 1);
        long step = arguments.Count > 2 ? Whole(arguments, 2) : 1;
        if (step == 0)
            throw TemplateTypes.Fault("range() arg 3 must not be zero");
        Int128 span = step > 0 ? (Int128)stop - start : (Int128)start - stop;
        Int128 stride = Int128.Abs(step);
        Int128 count = span <= 0 ? 0 : (span + stride - 1) / stride;
        if (count > LongestRange)
            throw new ChatTemplateException(ChatTemplateFailure.Limit, $"range() has more than {LongestRange} elements");
        context.Budget.Produce((long)count);
        var items = new List<object?>((int)count);
        for (long i = 0; i < count; i++)
            items.Add(start + i * step);
        return new TemplateList(items);
    }

    private static long Whole(Arguments arguments, int index) => arguments.Required(index, "stop") switch
    {
        long number => number,
        bool flag => flag ? 1 : 0,
        Undefined undefined => throw undefined.Fault(),
        object other => throw TemplateTypes.Fault($"'{TemplateTypes.Name(other)}' object cannot be interpreted as an integer"),
        null => throw TemplateTypes.Fault("'NoneType' object cannot be interpreted as an integer"),
    };

    private static TemplateNamespace Namespace(Arguments arguments)
    {
        var space = new TemplateNamespace();
        foreach ((object? key, object? value) in Dict(arguments))
            space.Attributes[key as string ?? throw TemplateTypes.Fault("attribute names must be strings")] = value;
        return space;
    }

    private static TemplateMap Dict(Arguments arguments)
    {
        var map = new TemplateMap();
        if (arguments.Count > 0)
        {
            if (arguments.Positional[0] is not TemplateMap source)
                throw TemplateTypes.Fault($"'{TemplateTypes.Name(arguments.Positional[0])}' object is not a mapping");
            foreach ((object? key, object? value) in source)
                map.Set(key, value);
        }

        foreach ((string name, object? value) in arguments.Named)
            map.Set(name, value);
        return map;
    }

    private static object? RaiseException(RenderContext context, Arguments arguments) => throw new ChatTemplateException(
        ChatTemplateFailure.Raised, PythonText.Str(arguments.Required(0, "message"), context.Budget));
}
