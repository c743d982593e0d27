using System.Reflection;
using System.Reflection.Emit;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Tests.Scheduling;

/// <summary>
/// Scheduling decides and does nothing else: the compiled room may use the base library only, and of that nothing that
/// knows the time, draws random numbers, does I/O or logs.
/// </summary>
public sealed class SchedulingPurityTests
{
    private const string Room = "Cluster.Grains.Scheduling";

    private static readonly string[] BannedTypes =
    [
        "System.DateTime", "System.DateTimeOffset", "System.TimeProvider", "System.Random", "System.Environment", "System.Console",
        "System.Guid", "System.Diagnostics.Stopwatch", "System.Diagnostics.Activity", "System.Security.Cryptography.RandomNumberGenerator",
    ];

    private static readonly string[] BannedNamespaces =
        ["System.IO", "System.Net", "System.Threading", "Microsoft.Extensions", "Orleans", "System.Diagnostics.Tracing", "System.Diagnostics.Metrics"];

    [Fact]
    public void Room_UsesNothingButTheBaseLibrary()
    {
        HashSet<string> used = UsedTypes(typeof(Scheduler).Assembly, Room);
        Assert.Contains("System.Security.Cryptography.SHA256", used);
        string[] foreign = [.. used.Where(type => !type.StartsWith("System.", StringComparison.Ordinal) && !type.StartsWith(Room + ".", StringComparison.Ordinal))];
        Assert.Empty(foreign);
        Assert.Empty(used.Intersect(BannedTypes));
        Assert.DoesNotContain(used, type => BannedNamespaces.Any(banned => type.StartsWith(banned + ".", StringComparison.Ordinal)));
    }

    [Fact]
    public void TheTest_SeesWhatOtherRoomsUse()
    {
        HashSet<string> used = UsedTypes(typeof(Scheduler).Assembly, "Cluster.Grains.Replicas");
        Assert.Contains(used, type => type.StartsWith("Orleans.", StringComparison.Ordinal));
        Assert.Contains("System.TimeProvider", used);
    }

    private static readonly Dictionary<short, OpCode> OpCodesByValue = typeof(OpCodes)
        .GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!)
        .ToDictionary(opcode => opcode.Value);

    // Walks the metadata tokens in the IL and signatures of every method of the room.
    private static HashSet<string> UsedTypes(Assembly assembly, string room)
    {
        var used = new HashSet<string>(StringComparer.Ordinal);
        foreach (Type type in assembly.GetTypes().Where(type => type.Namespace == room))
        {
            AddType(used, type.BaseType);
            foreach (Type implemented in type.GetInterfaces())
                AddType(used, implemented);
            const BindingFlags all = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly;
            foreach (FieldInfo field in type.GetFields(all))
                AddType(used, field.FieldType);
            foreach (MethodBase method in type.GetMethods(all).Cast<MethodBase>().Concat(type.GetConstructors(all)))
                AddMethod(used, method, type);
        }

        return used;
    }

    private static void AddMethod(HashSet<string> used, MethodBase method, Type owner)
    {
        foreach (ParameterInfo parameter in method.GetParameters())
            AddType(used, parameter.ParameterType);
        AddType(used, (method as MethodInfo)?.ReturnType);
        MethodBody? body = method.GetMethodBody();
        if (body is null)
            return;
        foreach (LocalVariableInfo local in body.LocalVariables)
            AddType(used, local.LocalType);
        Type[] typeArguments = owner.IsGenericType ? owner.GetGenericArguments() : [];
        Type[] methodArguments = method.IsGenericMethod ? method.GetGenericArguments() : [];
        foreach (int token in TokensOf(body.GetILAsByteArray()!))
            AddToken(used, method.Module, token, typeArguments, methodArguments);
    }

    private static IEnumerable<int> TokensOf(byte[] code)
    {
        for (int i = 0; i < code.Length;)
        {
            OpCode opcode = code[i] == 0xFE ? OpCodesByValue[(short)(0xFE00 | code[i + 1])] : OpCodesByValue[code[i]];
            i += opcode.Size;
            if (opcode.OperandType is OperandType.InlineField or OperandType.InlineMethod or OperandType.InlineTok or OperandType.InlineType)
                yield return BitConverter.ToInt32(code, i);
            i += opcode.OperandType switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 + (4 * BitConverter.ToInt32(code, i)),
                _ => 4,
            };
        }
    }

    private static void AddToken(HashSet<string> used, Module module, int token, Type[] typeArguments, Type[] methodArguments)
    {
        MemberInfo? member = module.ResolveMember(token, typeArguments, methodArguments);
        AddType(used, member as Type ?? member?.DeclaringType);
    }

    private static void AddType(HashSet<string> used, Type? type)
    {
        while (type?.HasElementType == true)
            type = type.GetElementType();
        if (type is null || type.IsGenericParameter || type.Name.StartsWith('<'))
            return;
        if (type.IsGenericType)
        {
            foreach (Type argument in type.GetGenericArguments())
                AddType(used, argument);
            type = type.GetGenericTypeDefinition();
        }

        used.Add(type.FullName ?? type.Name);
    }
}
