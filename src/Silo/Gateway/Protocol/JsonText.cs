using System.Text.Encodings.Web;
using System.Text.Json;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>How answers are written: text leaves as UTF-8 and not as \u escapes; structure is ours, so it is not checked twice.</summary>
internal static class JsonText
{
    /// <summary>Options of every writer.</summary>
    public static JsonWriterOptions Options { get; } = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    /// <summary>Answers with one JSON document.</summary>
    public static async Task Respond(HttpContext context, int status, Action<Utf8JsonWriter> write)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        await using (var json = new Utf8JsonWriter(context.Response.BodyWriter, Options))
            write(json);
        await context.Response.BodyWriter.FlushAsync(context.RequestAborted);
    }

    /// <summary>Answers with an error object.</summary>
    public static Task Respond(HttpContext context, ApiError error)
    {
        if (error.RetryAfterSeconds > 0)
            context.Response.Headers.RetryAfter = error.RetryAfterSeconds.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return Respond(context, error.Status, error.Write);
    }
}
