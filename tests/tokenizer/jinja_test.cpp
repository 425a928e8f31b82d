// Untrusted templates: what they cannot do, how quickly they are stopped, and the positions that errors report.
#include <gtest/gtest.h>

#include "lora/base/python_json.h"
#include "lora/tokenizer/chat_template.h"
#include "support/cpu_time.h"
#include "support/expect_error.h"

namespace lora::tokenizer {
namespace {

const Json kMessageWithList{{{"role", "user"}, {"content", "hi"}, {"list", {1, 2}}}};

std::string rendered(const std::string& source) {
  return ChatTemplate("t", source, {}).render({kMessageWithList, nullptr}, false, "row").text;
}

void expect_failure(const std::string& source, const std::vector<std::string>& parts) {
  SCOPED_TRACE(source.substr(0, 200));
  test::expect_error(ErrorKind::kModel, parts, [&] { rendered(source); });
}

std::string repeated(const std::string& text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) {
    result += text;
  }
  return result;
}

/// Expects that the template fails with this error within seconds.
void expect_stopped(const std::string& source, const std::string& why) {
  const test::CpuTime taken;
  expect_failure(source, {why});
  EXPECT_LT(taken.seconds(), 20) << source.substr(0, 200);
}

TEST(Jinja, IntegersOfAnySizeKeepTheirDigits) {
  const std::string id = "123456789012345678901";
  const Json call = parse_python_json(R"({"id": )" + id + R"(, "n": -)" + id + R"(, "u": 18446744073709551615})", "t", ErrorKind::kData);
  const auto written = [&call](const std::string& source) {
    const Json messages{{{"role", "user"}, {"c", call}}};
    return ChatTemplate("t", "{% set c = messages[0].c %}" + source, {}).render({messages, nullptr}, false, "row").text;
  };
  EXPECT_EQ(written("{{ c.id }} {{ c | tojson }}"),
            id + R"( {"id": 123456789012345678901, "n": -123456789012345678901, "u": 18446744073709551615})");
  EXPECT_EQ(written("{{ c }}"), "{'id': " + id + ", 'n': -" + id + ", 'u': 18446744073709551615}");
  EXPECT_EQ(written("{{ c.id is integer }} {{ c.id is number }} {{ c.id is float }} {{ c.id is string }} {{ not c.id }}"),
            "True True False False False");
  EXPECT_EQ(
      written("{{ c.id == c.id }} {{ c.id == c.u }} {{ c.u < c.id }} {{ c.n < 0 }} {{ c.n < c.u }} {{ c.id > 1e20 }} {{ c.id > 1e21 }}"),
      "True False True True True True False");
  EXPECT_EQ(
      written("{{ [c.id, 3, c.n, 2.5] | sort }} {{ [c.id, 3, c.u] | max }} {{ c.n | abs }} {{ -c.n }} {{ -(-c.id) }} {{ c.id | int }}"),
      "[-" + id + ", 2.5, 3, " + id + "] " + id + " " + id + " " + id + " " + id + " " + id);
  EXPECT_EQ(written("{{ c.id | float }} {{ c.id | string | length }} {{ '%d|%s' % (c.id, c.n) }} {{ c.id ~ 'x' }} {{ {c.id: 1}[c.id] }}"),
            "1.2345678901234568e+20 21 " + id + "|-" + id + " " + id + "x 1");
  EXPECT_EQ(written("{{ '99999999999999999999' | int }} {{ 1e19 | int }} {{ 2.5 | int }} {{ -2.5 | int }} {{ 'a' | int(7) }}"),
            "99999999999999999999 10000000000000000000 2 -2 7");
  for (const char* source : {"{{ c.id + 1 }}", "{{ 2 * c.id }}", "{{ c.id // 2 }}", "{{ c.id / 2.0 }}"}) {
    test::expect_error(ErrorKind::kModel, {"cannot compute with an integer of more than 64 bits: found " + id}, [&] { written(source); });
  }
}

TEST(Jinja, HostileTemplatesFailQuickly) {
  expect_stopped("{% for i in range(10**9) %}{% endfor %}", "a range is too big");
  expect_stopped("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "too much");
  expect_stopped("{% set r = range(99999) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}", "too much");
  expect_stopped("{{ 'a' * 10**9 }}", "needs too much memory");
  expect_stopped("{{ ('a' * 10**6) * 10**12 }}", "too");
  expect_stopped("{{ [0] * 10**9 }}", "needs too much memory");
  expect_stopped("{% set ns = namespace(t='ab') %}{% for i in range(64) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
                 "needs too much memory");
  expect_stopped("{% set ns = namespace(t=[1]) %}{% for i in range(64) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
                 "needs too much memory");
  expect_stopped("{% set ns = namespace(t=[1]) %}{% for i in range(90) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t }}",
                 "takes too long");
  expect_stopped(
      "{% set ns = namespace(t=[1]) %}{% for i in range(90) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t | tojson | length }}",
      "takes too long");
  expect_stopped(
      "{% set a = namespace(t=[1]) %}{% set b = namespace(t=[1]) %}{% for i in range(90) %}{% set a.t = [a.t, a.t] %}"
      "{% set b.t = [b.t, b.t] %}{% endfor %}{{ a.t == b.t }}",
      "takes too long");
  expect_stopped("{% set ns = namespace(t=[]) %}{% for i in range(9999) %}{% set ns.t = [ns.t] %}{% endfor %}", "nested too deeply");
  expect_stopped("{% set ns = namespace(t=[]) %}{% for i in range(9999) %}{% set ns.t = [[ns.t].index] %}{% endfor %}",
                 "nested too deeply");
  expect_stopped(
      "{% set ns = namespace(t=[]) %}{% for i in range(9999) %}{% for j in [ns.t] %}{% set ns.t = loop %}{% endfor %}{% endfor %}",
      "nested too deeply");
  expect_stopped("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "recurses too deeply");
  expect_stopped("{% macro f(x) %}{{ f(((((((((x))))))))) }}{% endmacro %}{{ f(1) }}", "recurses too deeply");
  expect_stopped("{{ " + repeated("(", 100'000) + "1" + repeated(")", 100'000) + " }}", "nested too deeply");
  expect_stopped("{{ " + repeated("[", 100'000) + repeated("]", 100'000) + " }}", "nested too deeply");
  expect_stopped("{{ " + repeated("not ", 100'000) + "1 }}", "nested too deeply");
  expect_stopped("{{ " + repeated("-", 100'000) + "1 }}", "nested too deeply");
  expect_stopped("{{ 1" + repeated("+1", 100'000) + " }}", "too large");
  expect_stopped("{{ x" + repeated(".a", 100'000) + " }}", "too large");
  expect_stopped("{{ x" + repeated("|e", 100'000) + " }}", "too large");
  expect_stopped("{{ 1" + repeated(" if 1 else 1", 50'000) + " }}", "nested too deeply");
  expect_stopped(repeated("{% if 1 %}", 50'000), "nested too deeply");
  expect_stopped(repeated("{% for a in b %}", 50'000), "nested too deeply");
  expect_stopped("{% set " + repeated("(", 50'000) + "a" + repeated(")", 50'000) + " = 1 %}", "nested too deeply");
  expect_stopped(repeated("x", (1 << 20) + 1), "too long");
  expect_stopped("{% for i in range(99999) %}" + repeated("x", 1000) + "{% endfor %}", "writes too much");
  expect_stopped("{% set s = 'ab' * 10**6 %}{% for i in range(99999) %}{% if 'c' in s %}{% endif %}{% endfor %}", "takes too long");
  expect_stopped("{% set s = 'ab' * 10**6 %}{% for i in range(99999) %}{% set x = s | replace('a', '') %}{% endfor %}", "takes too long");
  expect_stopped("{{ ('a' * 10**6) | replace('', 'b' * 10**6) }}", "needs too much memory");
  expect_stopped("{{ '%1000000000d' % 1 }}", "width or precision is too large");
  expect_stopped("{{ 'a'.ljust(10**9) }}", "padding");
  expect_stopped("{{ 'a' | indent(10**9) }}", "indent()");
  expect_stopped("{{ [1] | tojson(indent=10**9) }}", "indent is");
  expect_stopped("{{ 10 ** 10 ** 10 }}", "too large");
  expect_stopped("{{ 9223372036854775807 + 1 }}", "too large");
  expect_stopped("{{ 2.0 ** 99999 }}", "too large");
}

// Objects that refer to themselves, and long chains of objects, are freed without a leak (the sanitizers check this) or a crash.
TEST(Jinja, CyclesOfObjectsAreFreed) {
  EXPECT_EQ(rendered("{% set ns = namespace() %}{% set ns.own = ns %}{% set ns.l = [ns] %}ok"), "ok");
  EXPECT_EQ(rendered("{% set ns = namespace(n=none) %}{% for i in range(50000) %}{% set ns.n = namespace(n=ns.n) %}{% endfor %}ok"), "ok");
  EXPECT_EQ(rendered("{% set ns = namespace() %}{% macro f() %}{% set v = ns.m %}{% for i in [1] %}{% macro g() %}{{ v }}{% endmacro %}"
                     "{% set ns.m = g %}{% endfor %}{% endmacro %}{% for i in range(20000) %}{{ f() }}{% endfor %}ok"),
            "ok");
  EXPECT_EQ(
      rendered(
          "{% set ns = namespace() %}{% for i in [1] %}{% set ns.l = loop %}{{ loop.changed(loop.changed) }}{% endfor %}{{ ns.l.length }}"),
      "True1");
  EXPECT_EQ(
      rendered(
          "{% set ns = namespace() %}{% for i in [1, 2] %}{% macro g() %}{{ i }}{% endmacro %}{% set ns.g = g %}{% endfor %}{{ ns.g() }}"),
      "2");
}

TEST(Jinja, InternalsAreOutOfReach) {
  EXPECT_EQ(rendered("{{ ''.__class__ }}|{{ messages.__class__ is defined }}|{{ ''['__class__'] is defined }}"), "|False|False");
  for (const char* source :
       {"{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ messages[0].update({}) }}", "{{ messages[0].pop('role') }}",
        "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{{ open('x') }}", "{{ self.x }}", "{{ lipsum() }}",
        "{{ cycler('a') }}", "{% do 1 %}", "{{ namespace.__init__ }}{{ namespace(_a=1) }}"}) {
    EXPECT_THROW(rendered(source), Error) << source;
  }
}

TEST(Jinja, ErrorsReportThePosition) {
  expect_failure("a\n  {{ messages[0].no.such }}", {"[t:2:20]", "'dict object' has no attribute 'no'"});
  expect_failure("{{ unknown.x }}", {"[t:1:11]", "'unknown' is undefined"});
  expect_failure("{{ 1 + 'a' }}", {"[t:1:6]", "'int' and 'str'"});
  expect_failure("x\n{{ 'a' | uper }}", {"[t:2:8]", "no filter 'uper'", "did you mean 'upper'"});
  expect_failure("{{ 1 is definde }}", {"[t:1:6]", "no test 'definde'", "'defined'"});
  expect_failure("{% fro x in y %}", {"[t:1:4]", "the tag 'fro'", "did you mean 'for'"});
  expect_failure("{% if x %}", {"does not end", "elif or else or endif"});
  expect_failure("{{ 'abc }}", {"[t:1:4]", "a string does not end"});
  expect_failure("{{ 1", {"does not end", "}}"});
  expect_failure("{# 1", {"[t:1:1]", "a comment does not end"});
  expect_failure("{% raw %}", {"[t:1:1]", "a raw block does not end"});
  expect_failure("{{ (1] }}", {"[t:1:6]", "unexpected ']', expected ')'"});
  expect_failure("{{ a ? b }}", {"[t:1:6]", "unexpected character '?'"});
  expect_failure("{{ '\\ud800' }}", {"[t:1:4]", "no character"});
  expect_failure("{{ 007 }}", {"[t:1:4]", "begins with 0"});
  expect_failure("{{ 99999999999999999999 + 1 }}", {"[t:1:", "64 bits"});
  expect_failure("{% for a, b in [1] %}{% endfor %}", {"[t:1:", "not iterable"});
  expect_failure("{% for a, b in [[1]] %}{% endfor %}", {"cannot unpack 1 values: expected 2"});
  expect_failure("{% set messages.x = 1 %}", {"[t:1:4]", "is not a namespace"});
  expect_failure("{% break %}", {"[t:1:4]", "'break' outside of a loop"});
  expect_failure("{% for x in y recursive %}{% endfor %}", {"recursive loops are not supported"});
  expect_failure("{{ 'a'.swapcase() }}", {"'swapcase' of strings is not supported"});
  expect_failure("\xff", {"[t]", "not valid UTF-8"});
  test::expect_error(ErrorKind::kData, {"[row]", "rejects the conversation: no\\nway", "t:1:"},
                     [] { rendered("{{ raise_exception('no\\nway') }}"); });
}

TEST(Jinja, AssistantMarksAreOffsetsInTheWholeText) {
  const ChatTemplate marked("t", "é{% for m in messages %}a{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}b", {});
  EXPECT_TRUE(marked.marks_assistant({kMessageWithList, nullptr}));
  const RenderedChat chat = marked.render({kMessageWithList, nullptr}, false, "row");
  EXPECT_EQ(chat.text, "éahib");
  ASSERT_EQ(chat.assistant.size(), 1U);
  EXPECT_EQ(chat.assistant[0].begin, 3U);
  EXPECT_EQ(chat.assistant[0].end, 5U);
  EXPECT_FALSE(ChatTemplate("t", "x", {}).marks_assistant({kMessageWithList, nullptr}));
}

}  // namespace
}  // namespace lora::tokenizer
