using Cluster.Cli;

return await ClusterCommand.RunAsync(args, CliHost.ForProcess());
