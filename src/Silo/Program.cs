using Cluster.Grains;
using Cluster.Silo.Configuration;
using Cluster.Silo.Hosting;

CommandLineResult commandLine = CommandLine.Parse(args);
if (commandLine.Output is { } output)
{
    Console.WriteLine(output);
    return 0;
}
if (commandLine.Errors.Count > 0)
    return Refuse(commandLine.Errors);

IConfiguration configuration;
try
{
    configuration = SiloSettings.Load();
}
catch (InvalidDataException exception)
{
    return Refuse([exception.Message]);
}
(ClusterOptions options, IReadOnlyList<string> errors) = SettingSources.Read(commandLine.Values, Environment.GetEnvironmentVariable, configuration);
return errors.Count > 0 ? Refuse(errors) : await SiloProcess.Run(options, configuration, Console.Error);

static int Refuse(IReadOnlyList<string> lines)
{
    foreach (string line in lines)
        Console.Error.WriteLine($"error: {line}");
    return 2;
}
