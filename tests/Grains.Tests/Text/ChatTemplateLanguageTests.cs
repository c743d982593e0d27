using System.Text.Json;
using Cluster.Contracts;
using Cluster.Grains.Text;
using Cluster.Grains.Text.Templates;
using Microsoft.Extensions.Time.Testing;

namespace Cluster.Grains.Tests.Text;

/// <summary>The template language beyond what the reference templates use; expected texts are Jinja 3's.</summary>
public class ChatTemplateLanguageTests
{
    private static readonly FakeTimeProvider Clock = new(new DateTimeOffset(2025, 3, 4, 9, 26, 53, TimeSpan.Zero));

    [Theory]
    [InlineData("{{ 1 }} {{ 1.0 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 1e20 }} {{ 1e-7 }}", "1 1.0 3 3.5 2 1024 1e+20 1e-07")]
    [InlineData("{{ 123456789012345680.0 }} {{ 1234567890123456.0 }} {{ 0.1 + 0.2 }} {{ 1e23 }}", "1.2345678901234568e+17 1234567890123456.0 0.30000000000000004 1e+23")]
    [InlineData("{{ none }} {{ true }} {{ [1, 'a', none] }} {{ {'k': \"it's\"} }} {{ (1,) }}", "None True [1, 'a', None] {'k': \"it's\"} (1,)")]
    [InlineData("{{ 'a' if false }}|{{ x }}|{{ x is defined }}|{{ not x }}", "||False|True")]
    [InlineData("{{ 'ab'[0] }}{{ 'abc'[-1] }}{{ 'abcdef'[1:4] }}{{ 'abc'[::-1] }}{{ [1,2,3][1:] }}", "acbcdcba[2, 3]")]
    [InlineData("{{ 'x' in 'xyz' }} {{ 3 not in [1, 2] }} {{ 'k' in {'k': 1} }} {{ 1 < 2 <= 2 }}", "True True True True")]
    [InlineData("{{ 'a' ~ 1 ~ none }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ '%s-%03d' % ('a', 7) }}", "a1None abab [1, 2] a-007")]
    [InlineData("{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3")]
    [InlineData("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}{% if true %}{% set x = 3 %}{% endif %}{{ x }}", "13")]
    [InlineData("{% for a, b in {'x': 1, 'y': 2}.items() %}{{ loop.index }}{{ a }}{{ b }}{% if not loop.last %},{% endif %}{% endfor %}", "1x1,2y2")]
    [InlineData("{% for i in range(6) if i is odd %}{{ i }}{{ loop.length }}{% else %}none{% endfor %}", "133353")]
    [InlineData("{% for i in [] %}x{% else %}none{% endfor %}", "none")]
    [InlineData("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "013")]
    [InlineData("{% macro m(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}", "[1z][12]")]
    [InlineData("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{% endcall %}", "<in>")]
    [InlineData("{% set t | upper %}a{{ 'b' }}{% endset %}{{ t }}{% filter upper %}c{% endfilter %}", "ABC")]
    [InlineData("{% with a=1, b=2 %}{{ a + b }}{% endwith %}{{ a is undefined }}", "3True")]
    [InlineData("{% for i in [1,[2,[3]]] recursive %}{% if i is number %}{{ i }}{% else %}({{ loop(i) }}){% endif %}{% endfor %}", "1(2(3))")]
    [InlineData("{% raw %}{{ x }}{% endraw %}{# note #}!", "{{ x }}!")]
    [InlineData("{{ ' a '|trim }}{{ 'b'|default('c') }}{{ x|default('d') }}{{ ''|d('e', true) }}", "abde")]
    [InlineData("{{ [3,1,2]|sort|join(',') }} {{ ['b','A']|sort|first }} {{ [1,2]|sum }} {{ [1,2,2]|unique|list|length }}", "1,2,3 A 3 2")]
    [InlineData("{{ [{'r':'a','v':1},{'r':'b','v':2}]|selectattr('r','equalto','b')|map(attribute='v')|list }}", "[2]")]
    [InlineData("{{ ['a','']|select|list }} {{ [1,2,3]|reject('odd')|list }} {{ ['a']|map('upper')|join }}", "['a'] [2] A")]
    [InlineData("{{ {'b':1,'a':2}|dictsort }} {{ {'b':1}|items|list }} {{ [1,2,3]|batch(2)|list }}", "[('a', 2), ('b', 1)] [('b', 1)] [[1, 2], [3]]")]
    [InlineData("{{ 'a-b-c'.split('-') }} {{ ' a  b '.split() }} {{ 'a-b-c'.rsplit('-', 1) }} {{ 'x\\ny'.splitlines() }}", "['a', 'b', 'c'] ['a', 'b'] ['a-b', 'c'] ['x', 'y']")]
    [InlineData("{{ 'Hello'.startswith('He') }}{{ 'hello'.title() }}{{ 'aXbX'.replace('X', '-') }}{{ 'xxa'.lstrip('x') }}{{ 'é'.upper() }}", "TrueHelloa-b-aÉ")]
    [InlineData("{{ {'a': {'b': [1, 2.0, none, true, 'é\"\\n']}}|tojson }}", "{\"a\": {\"b\": [1, 2.0, null, true, \"é\\\"\\n\"]}}")]
    [InlineData("{{ {'a': [1], 'b': {}}|tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}")]
    [InlineData("{{ {'b': 1, 'a': 2}|tojson(sort_keys=true, separators=(',', ':')) }}", "{\"a\":2,\"b\":1}")]
    [InlineData("{{ 'é😀'|tojson(ensure_ascii=true) }}{{ '😀'|length }}", "\"\\u00e9\\ud83d\\ude00\"1")]
    [InlineData("{{ strftime_now('%d %b %Y') }} {{ strftime_now('%-d %B %H:%M:%S %p %A %j') }}", "04 Mar 2025 4 March 09:26:53 AM Tuesday 063")]
    [InlineData("{{ 'a' 'b' }} {{ \"\\u00e9\\t|\" }} {{ 'it\\'s' }}", "ab é\t| it's")]
    [InlineData("{{ 5 is divisibleby 5 }} {{ 'a' is string }} {{ [] is iterable }} {{ {} is mapping }} {{ 1 is not none }} {{ 'a' is in ['a'] }}", "True True True True True True")]
    [InlineData("{{ 3.7|int }} {{ '12'|int }} {{ 'x'|int(9) }} {{ 2.567|round(2) }} {{ -3|abs }} {{ 'ab'|list }}", "3 12 9 2.57 3 ['a', 'b']")]
    [InlineData("{{ 'line\nnext'|indent(2) }}|{{ 'a b'|capitalize }}|{{ 'a<b'|e }}", "line\n  next|A b|a&lt;b")]
    [InlineData("{% generation %}g{% endgeneration %}{{ loop is defined }}", "gFalse")]
    [InlineData("{% if x %}1{% elif 0 %}2{% elif 'a' %}3{% else %}4{% endif %}", "3")]
    [InlineData("{{ true + 1 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ none == false }}", "2 True True False False")]
    [InlineData("{{ 'n: {}, {name}'.format(1, name='x') }} {{ 'a'.center(3)|replace(' ', '.') }} {{ 'ab'|reverse }}", "n: 1, x .a. ba")]
    public void Render_AgreesWithJinja(string source, string expected) => Assert.Equal(expected, Render(source));

    [Theory]
    [InlineData("a\n{% if true %}\nb\n{% endif %}\nc\n", "a\nb\nc")]
    [InlineData("  {% if true %}x{% endif %}\n  y", "x  y")]
    [InlineData("a  {%- if true -%}  b  {%- endif -%}  c", "abc")]
    [InlineData("  {%+ if true %}x{% endif +%}\ny", "  x\ny")]
    [InlineData("{{ 'a' }}\n{{- 'b' -}}\n c", "abc")]
    [InlineData("{# c #}\nx\n  {# d #}\ny", "x\ny")]
    [InlineData("a\r\n{% set x = 1 %}\r\nb\n\n", "a\nb\n")]
    [InlineData("x {% raw %} y {% endraw %}\nz", "x  y z")]
    public void WhiteSpaceAroundTags_IsJinjas(string source, string expected) => Assert.Equal(expected, Render(source));

    [Theory]
    [InlineData("{{ x.y }}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{{ 'a' + none }}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{{ [].append(1) }}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{{ 1 // 0 }}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{{ 9223372036854775807 + 1 }}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{{ none|tojson(indent=[]) }}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{{ x() }}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{% for i in none %}{% endfor %}", nameof(ChatTemplateFailure.Evaluation))]
    [InlineData("{{ raise_exception('no ' ~ 1) }}", nameof(ChatTemplateFailure.Raised))]
    [InlineData("{{ strftime_now('%Q') }}", nameof(ChatTemplateFailure.Evaluation))]
    public void Render_FailsTyped(string source, string failure) =>
        Assert.Equal(failure, Assert.Throws<ChatTemplateException>(() => Render(source)).Failure.ToString());

    [Fact]
    public void RaisedMessage_ReachesTheCallerAlone() =>
        Assert.Equal("no 1", Assert.Throws<ChatTemplateException>(() => Render("{{ raise_exception('no ' ~ 1) }}")).Message);

    [Theory]
    [InlineData("{% if %}")]
    [InlineData("{{ 1")]
    [InlineData("{{ 'a }}")]
    [InlineData("{% for x in y %}")]
    [InlineData("{% endif %}")]
    [InlineData("{% include 'x' %}")]
    [InlineData("{{ 1|nosuch }}")]
    [InlineData("{{ 1 is nosuch }}")]
    [InlineData("{% break %}")]
    [InlineData("{{ ) }}")]
    [InlineData("{# x")]
    [InlineData("{% raw %}")]
    [InlineData("{{ '\\ud8' }}")]
    [InlineData("{{ $ }}")]
    public void Parse_RefusesWhatIsNotATemplate(string source)
    {
        var exception = Assert.Throws<ChatTemplateException>(() => Render(source));
        Assert.Equal(ChatTemplateFailure.Syntax, exception.Failure);
        Assert.Contains("line 1", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SyntaxError_NamesItsLine() => Assert.Contains("line 3",
        Assert.Throws<ChatTemplateException>(() => Render("a\nb\n{{ 1 1 }}")).Message, StringComparison.Ordinal);

    [Fact]
    public void Messages_KeepTheirKeyOrderAndNumbers()
    {
        string prompt = Render("{{ messages[0].call | tojson }}",
            """[{"call": {"z": 1, "a": 1.0, "m": {"y": 12345678901234567890, "b": 1e5}}}]""");
        Assert.Equal("""{"z": 1, "a": 1.0, "m": {"y": 12345678901234567890, "b": 100000.0}}""", prompt);
    }

    [Fact]
    public void ContinueFinalMessage_EndsWithTheLastMessagesText()
    {
        ChatTemplate template = ChatTemplate.Parse(
            "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}", new Dictionary<string, string>(), Clock);
        ChatMessage[] messages = [new() { Role = "user", Content = "Hi" }, new() { Role = "assistant", Content = "I am" }];
        Assert.Equal("<user>Hi</><assistant>I am",
            template.Render(messages, new ChatTemplateInput { ContinueFinalMessage = true }));
        Assert.Equal("<user>Hi</><assistant>I am</>", template.Render(messages, new ChatTemplateInput()));
    }

    [Fact]
    public void RequestRecords_CarryToolsArgumentsAndWholeMessages()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ bos_token }}{{ messages|tojson }}{{ tools|tojson }}{{ mode }}{{ add_generation_prompt }}",
            new Dictionary<string, string> { ["bos_token"] = "<s>" }, Clock);
        string prompt = template.Render(
            [new ChatMessage { Role = "user", Content = "é" }, new ChatMessage { Role = "tool", Json = """{"role":"tool","id":7}""" }],
            new ChatTemplateInput { AddGenerationPrompt = true, ToolsJson = """[{"b":1,"a":2}]""", ArgumentsJson = """{"mode":"x"}""" });
        Assert.Equal("""<s>[{"role": "user", "content": "é"}, {"role": "tool", "id": 7}][{"b": 1, "a": 2}]xTrue""", prompt);
    }

    [Fact]
    public void BrokenRequestJson_IsTyped()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ messages|tojson }}", new Dictionary<string, string>(), Clock);
        Assert.Throws<ChatTemplateException>(() => template.Render([], new ChatTemplateInput { ToolsJson = "[" }));
        string deep = new string('[', 64) + new string(']', 64);
        foreach (string json in (string[])["{", "{},{}", "", deep, """{"content": "\ud800"}"""])
        {
            ChatMessage message = new() { Role = "user", Json = json };
            Assert.Throws<ChatTemplateException>(() => template.Render([message], new ChatTemplateInput()));
        }
    }

    [Fact]
    public void UnpairedSurrogates_NeverReachThePrompt()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ messages[0].content }}", new Dictionary<string, string>(), Clock);
        try
        {
            Assert.Equal("a\uFFFD", template.Render([new ChatMessage { Role = "user", Content = "a\uD800" }], new ChatTemplateInput()));
        }
        catch (ChatTemplateException exception)
        {
            Assert.Contains("messages[0]", exception.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void ContentParts_AreOneTextUnlessTheTemplateReadsThem()
    {
        const string Messages = """[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]""";
        Assert.Equal("a\nb!", Render("{{ messages[0].content + '!' }}", Messages));
        Assert.Equal("[a][b]", Render("{% for p in messages[0]['content'] %}[{{ p.text }}]{% endfor %}", Messages));
        var exception = Assert.Throws<ChatTemplateException>(() => Render("{{ messages[0].content }}",
            """[{"content": [{"type": "image_url", "image_url": {}}]}]"""));
        Assert.Contains("image_url", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void OneTemplate_ServesManyThreads()
    {
        ChatTemplate template = ChatTemplate.Parse(
            "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t ~ m.content %}{% endfor %}{{ ns.t }}",
            new Dictionary<string, string>(), Clock);
        Parallel.For(0, 200, i => Assert.Equal($"a{i}b{i}", template.Render(
            [new ChatMessage { Role = "user", Content = $"a{i}" }, new ChatMessage { Role = "user", Content = $"b{i}" }],
            new ChatTemplateInput())));
    }

    internal static string Render(string source, string messages = "[]", TemplateLimits? limits = null) =>
        ChatTemplate.Parse(source, new Dictionary<string, string>(), Clock, limits)
            .Render(new ChatConversation { Messages = JsonDocument.Parse(messages).RootElement });
}
