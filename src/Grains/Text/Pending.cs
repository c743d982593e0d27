// Stand-in so that the rooms around Text compile; goes when ChatTemplate arrives.
namespace Cluster.Grains.Text;

internal sealed class ChatTemplate;
