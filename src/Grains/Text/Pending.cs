// Stand-ins so that the rooms around Text compile; delete this file when Tokenizer and ChatTemplate arrive.
namespace Cluster.Grains.Text;

internal sealed class Tokenizer;

internal sealed class ChatTemplate;
