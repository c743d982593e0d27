namespace Cluster.Silo.Configuration;

/// <summary>The files and variables a silo reads: appsettings.json beside the binary, then in the working folder, then the environment.</summary>
internal static class SiloSettings
{
    private const string FileName = "appsettings.json";

    /// <summary>Loads them; they are not watched.</summary>
    /// <exception cref="InvalidDataException">A file is not valid JSON.</exception>
    public static IConfiguration Load()
    {
        string beside = Path.Combine(AppContext.BaseDirectory, FileName);
        string here = Path.GetFullPath(FileName);
        IConfigurationBuilder builder = new ConfigurationBuilder().AddJsonFile(beside, optional: true, reloadOnChange: false);
        if (here != beside)
            builder.AddJsonFile(here, optional: true, reloadOnChange: false);
        try
        {
            return builder.AddEnvironmentVariables().Build();
        }
        catch (InvalidDataException exception)
        {
            throw new InvalidDataException($"{exception.Message} {exception.InnerException?.Message}".Trim(), exception);
        }
    }
}
