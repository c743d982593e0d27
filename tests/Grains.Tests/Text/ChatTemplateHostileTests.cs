using System.Text;
using Cluster.Grains.Text;
using CsCheck;
using Microsoft.Extensions.Time.Testing;

namespace Cluster.Grains.Tests.Text;

/// <summary>Templates that try to take the process: every one ends soon, with a typed error.</summary>
public class ChatTemplateHostileTests
{
    public static TheoryData<string> Endless =>
    [
        "{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999999999) %}x{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'x' * 999999999999 }}",
        "{{ [0] * 999999999 }}",
        "{% set ns = namespace(t='x') %}{% for i in range(99) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
        "{% set ns = namespace(t='x') %}{% for i in range(99) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
        "{% set ns = namespace(t=[1]) %}{% for i in range(99) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t }}",
        "{% set ns = namespace(t=[1]) %}{% for i in range(9999) %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.t|tojson }}",
        "{% for i in range(1000000) %}{{ 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy' * 99 }}{% endfor %}",
        "{{ 'x'.ljust(2000000000) }}",
        "{{ ('x' * 1000000).replace('x', 'y' * 1000) }}",
        "{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{{ '%999999999d' % 1 }}",
        "{{ [0]|batch(2000000000, 0)|list }}",
        new string('(', 5000) + "1" + new string(')', 5000),
        "{{ " + new string('(', 5000) + "1" + new string(')', 5000) + " }}",
        "{{ " + string.Concat(Enumerable.Repeat("not ", 5000)) + "1 }}",
        "{{ 1 " + string.Concat(Enumerable.Repeat("+ 1 ", 100_000)) + "}}",
        string.Concat(Enumerable.Repeat("{% if 1 %}", 5000)),
        "{{ x" + string.Concat(Enumerable.Repeat("[x", 5000)),
        new string(' ', 2_000_000) + "{{ 1 }}",
    ];

    [Theory]
    [MemberData(nameof(Endless))]
    public void HostileTemplate_EndsWithATypedErrorOrText(string source)
    {
        try
        {
            Assert.True(ChatTemplateLanguageTests.Render(source).Length < 70_000_000);
        }
        catch (ChatTemplateException exception)
        {
            Assert.True(exception.Failure is ChatTemplateFailure.Limit or ChatTemplateFailure.Syntax or ChatTemplateFailure.Evaluation);
        }
    }

    [Theory]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")]
    [InlineData("{{ 'x' * 999999999999 }}")]
    [InlineData("{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}")]
    public void Bounds_AreNamedWithTheirLimit(string source)
    {
        var exception = Assert.Throws<ChatTemplateException>(() => ChatTemplateLanguageTests.Render(source));
        Assert.Equal(ChatTemplateFailure.Limit, exception.Failure);
        Assert.Matches("[0-9]{3,}", exception.Message);
    }

    [Fact]
    public void RandomTemplates_RenderOrFailTyped()
    {
        string[] parts =
        [
            "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "if", "endif", "for", "in", "endfor", "set", "x", "=", "1", "'a'", "|", "(", ")", "[", "]",
            "{", "}", ",", ":", ".", "else", "elif", "macro", "endmacro", "is", "not", "and", "or", "\n", " ", "upper", "range", "(9)", "~", "%", "*",
            "**", "/", "//", "messages", "loop", "tojson", "join", "raw", "endraw", "none", "true", "1.5", "\"", "\\", "é",
        ];
        Gen.OneOf<string>(parts).Array[0, 40].Sample(tokens =>
        {
            try
            {
                ChatTemplateLanguageTests.Render(string.Join(' ', tokens));
            }
            catch (ChatTemplateException)
            {
                // The one exception a template may cause.
            }
        }, iter: 10_000, threads: 1);
    }

    [Fact]
    public void DeepConversation_IsRefusedTyped()
    {
        string deep = new StringBuilder().Insert(0, "[", 60).Append(new string(']', 60)).ToString();
        Assert.Equal(deep, ChatTemplateLanguageTests.Render("{{ messages|tojson }}", deep));
    }

    [Theory]
    [InlineData("tokenizer_config.json", """{"chat_template": 7}""")]
    [InlineData("tokenizer_config.json", """{"chat_template": [{"name": "default"}]}""")]
    [InlineData("tokenizer_config.json", """{"chat_template": """)]
    [InlineData("tokenizer_config.json", """{"chat_template": "\ud800"}""")]
    public void BrokenConfiguration_NamesFileAndField(string file, string content)
    {
        using var folder = new TemporaryFolder();
        folder.Write(file, content);
        var exception = Assert.Throws<TokenizerFormatException>(() => ChatTemplate.TryLoad(folder.Path, new FakeTimeProvider()));
        Assert.Equal(file, exception.File);
        Assert.NotEmpty(exception.Field);
    }

    [Fact]
    public void Load_PrefersTheJinjaFileThenTheNamedList()
    {
        var time = new FakeTimeProvider();
        using var folder = new TemporaryFolder();
        Assert.Null(ChatTemplate.TryLoad(folder.Path, time));
        Assert.Equal(ChatTemplateFailure.Missing,
            Assert.Throws<ChatTemplateException>(() => ChatTemplate.Load(folder.Path, time)).Failure);
        folder.Write("tokenizer_config.json",
            """{"bos_token": {"content": "<s>"}, "chat_template": [{"name": "default", "template": "d{{ bos_token }}"}, {"name": "tool_use", "template": "t"}]}""");
        Assert.Equal("d<s>", ChatTemplate.Load(folder.Path, time).Render([], new()));
        Assert.Equal("t", ChatTemplate.Load(folder.Path, time).Render([], new() { ToolsJson = "[]" }));
        folder.Write("chat_template.jinja", "j{{ bos_token }}");
        Assert.Equal("j<s>", ChatTemplate.Load(folder.Path, time).Render([], new()));
    }
}
