using Cluster.Contracts;

namespace Cluster.Silo.Hosting;

/// <summary>A model whose shard is loaded in this silo.</summary>
internal sealed record LoadedModel(ModelDescription Description, ShardDescription Shard, WatchedEngine Engine, KvBudget Budget, bool HasChatTemplate);
