#include "halyard/text/chat_template.h"

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "halyard/base/file.h"
#include "halyard/testing/cpu_time.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/json.h"
#include "halyard/testing/paths.h"
#include "halyard/testing/patience.h"
#include "halyard/text/jinja/builtins.h"
#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/parser.h"

namespace halyard {
namespace {

Result<std::string> render(const std::string& source, const Json& context = Json::object()) {
  return HALYARD_TRY(ChatTemplate::parse(source, "test.jinja")).render(context);
}

std::string rendered(const std::string& source, const Json& context = Json::object()) {
  const auto r = render(source, context);
  return r ? *r : "error: " + r.error().str();
}

std::string error_of(const std::string& source, const Json& context = Json::object()) {
  const auto r = render(source, context);
  return r ? "rendered: " + r->substr(0, 200) : r.error().str();
}

Json read_json(const std::filesystem::path& path) {
  const auto text = read_file(path.string());
  EXPECT_TRUE(text) << path;
  const auto json = parse_json(text ? *text : "[]", {.exact_integers = true});
  EXPECT_TRUE(json) << path;
  return json ? *json : Json::array();
}

// The goldens are transformers' own output.
TEST(ChatTemplate, RendersTheGoldensByteForByte) {
  const auto cases_path = testing::golden("text/templates/cases.json");
  if (cases_path.empty()) GTEST_SKIP() << "no golden text/templates/cases.json";
  int checked = 0;
  for (const auto& c : read_json(cases_path)) {
    const auto path = testing::golden("text/templates/" + c["template"].get<std::string>() + ".jinja");
    if (path.empty()) continue;
    const auto source = read_file(path.string());
    ASSERT_TRUE(source) << path;
    const auto parsed = ChatTemplate::parse(*source, path.filename().string());
    ASSERT_TRUE(parsed) << parsed.error().str();
    Json input = c;
    for (const char* key : {"template", "conversation", "rendered", "error"})
      input.erase(key);  // of the case, not the input
    const auto context = chat_context(input);
    ASSERT_TRUE(context) << context.error().str();
    const auto got = parsed->render(*context);
    ++checked;
    if (c.contains("error")) {
      EXPECT_FALSE(got) << path << ' ' << c["conversation"] << " must fail: " << c["error"];
    } else {
      ASSERT_TRUE(got) << path << ' ' << c["conversation"] << ": " << got.error().str();
      EXPECT_EQ(*got, c["rendered"].get<std::string>()) << path << ' ' << c["conversation"];
    }
  }
  EXPECT_GT(checked, 0);
}

// Written by jinja2 3.1.6 in transformers' environment: [{"template", "context", "rendered" or "error"}].
TEST(ChatTemplate, AgreesWithJinja) {
  const auto path = testing::source_dir() / "testdata" / "jinja" / "cases.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no testdata/jinja/cases.json";
  for (const auto& c : read_json(path)) {
    const auto got = render(c["template"].get<std::string>(), c["context"]);
    if (c.contains("error")) {
      EXPECT_FALSE(got) << c["template"] << "\nmust fail: " << c["error"] << "\nbut gives: " << *got;
    } else {
      EXPECT_TRUE(got) << c["template"] << '\n' << got.error().str();
      if (got) { EXPECT_EQ(*got, c["rendered"].get<std::string>()) << c["template"]; }
    }
  }
}

// Written by testdata/jinja/make_cases.py; HALYARD_JINJA_CASES names another file of its.
TEST(ChatTemplate, AgreesWithJinjaOnMarkupIntegersFiltersAndMethods) {
  const char* other = std::getenv("HALYARD_JINJA_CASES");
  const Json file = read_json(other ? std::filesystem::path(other)
                                    : testing::source_dir() / "testdata" / "jinja" / "more_cases.json");
  ASSERT_GT(file["cases"].size(), 50u);
  for (const auto& c : file["cases"]) {
    const auto got = render(c["template"].get<std::string>(), file["context"]);
    if (c.contains("error")) {
      EXPECT_FALSE(got) << c["template"] << "\nmust fail: " << c["error"] << "\nbut gives: " << *got;
    } else {
      EXPECT_TRUE(got) << c["template"] << '\n' << got.error().str();
      if (got) { EXPECT_EQ(*got, c["rendered"].get<std::string>()) << c["template"]; }
    }
  }
}

TEST(ChatTemplate, ErrorsNameTheTemplateAndTheLine) {
  EXPECT_EQ(error_of("a\n\n{% frobnicate %}"), "chat template \"test.jinja\", line 3: unknown tag 'frobnicate'");
  EXPECT_EQ(error_of("a\n{{ 'x' | frobnicate }}"),
            "chat template \"test.jinja\", line 2: no filter named 'frobnicate'");
  EXPECT_EQ(error_of("{% set a = 1 %}\n{{ a.b.c }}"),
            "chat template \"test.jinja\", line 2: 'int object' has no attribute 'b'");
  EXPECT_EQ(error_of("\n{{ raise_exception('roles must alternate') }}"),
            "chat template \"test.jinja\", line 2: roles must alternate");
  EXPECT_EQ(error_of("{% macro f() %}\n\n{% endmacro %}{{ f() + 1 }}"),
            "chat template \"test.jinja\", line 3: can only concatenate str (not \"int\") to str");
}

TEST(ChatTemplate, RefusesWhatIsNotATemplate) {
  for (const char* source : {"{{ messages[0]['content' }}",
                             "{% for m in messages %}{{ m }}",
                             "{% include '/etc/hostname' %}",
                             "{{ 'x }}",
                             "{{",
                             "{%",
                             "{# never closed",
                             "{% raw %}x",
                             "{{ 1 is frob }}",
                             "{% break %}",
                             "{{ a b }}",
                             "{% endif %}",
                             "{{ }}",
                             "{{ '\\ud800' }}",
                             "{% set 1 = 2 %}",
                             "{% macro f(a=1, b) %}{% endmacro %}",
                             "{{ f(a=1, 2) }}",
                             "\xff",
                             "{{ ! }}",
                             "{{ (1] }}",
                             "{% import 'x' as y %}",
                             "{% extends 'x' %}"}) {
    const auto r = ChatTemplate::parse(source, "bad.jinja");
    ASSERT_FALSE(r) << source;
    EXPECT_EQ(r.error().code, Errc::bad_file) << source;
    EXPECT_NE(r.error().message.find("chat template \"bad.jinja\""), std::string::npos) << r.error().message;
  }
}

TEST(ChatTemplate, BoundsWorkMemoryDepthAndOutput) {
  const std::string deep(20'000, '(');
  const std::vector<std::string> hostile = {
      "{% for i in range(10**9) %}{% endfor %}",
      "{% for i in range(10000) %}{% for j in range(10000) %}{% for k in range(10000) %}{% endfor %}{% endfor %}{% "
      "endfor %}x",
      "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
      "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{{ 'x' * 10000000000 }}",
      "{{ [0] * 10000000000 }}",
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s "
      "}}",
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('x', 'xx') %}{% endfor "
      "%}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | "
      "tojson }}",
      "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, "
      "ns.b] %}"
      "{% endfor %}{{ ns.a == ns.b }}",
      "{% set ns = namespace(l=1) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}",
      "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
      "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}",
      "{{ 'x' | center(10000000000) }}",
      "{{ 'x' | indent(10000000000) }}",
      "{{ [[1]] | tojson(indent=10000000000) }}",
      "{{ '%10000000000d' % 1 }}",
      "{{ '%.*f' | format(10000000000, 1.5) }}",
      "{{ '{:>10000000000}'.format(1) }}",
      "{{ [1] | batch(10000000000, 0) | list }}",
      "{{ [1] | slice(10000000000, 0) | list }}",
      "{{ 'x'.zfill(10000000000) }}",
      "{{ 'x'.ljust(10000000000) }}",
      "{{ '\t'.expandtabs(10000000000) }}",
      "{{ strftime_now('%10000000d') }}",
      "{% for i in range(99999) %}{% for j in range(99) %}{{ 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy' }}{% endfor %}{% "
      "endfor %}",
      "{{ " + deep + "1" + std::string(20'000, ')') + " }}",
      "{{ " + std::string(20'000, '[') + std::string(20'000, ']') + " }}",
      "{{ " + std::string(20'000, '-') + "1 }}",
      "{{ a" + std::string(20'000, '.') + " }}",
      [] {
        std::string s = "{{ 1";
        for (int i = 0; i < 20'000; ++i) s += " + 1";
        return s + " }}";
      }(),
      [] {
        std::string s = "{{ a";
        for (int i = 0; i < 20'000; ++i) s += ".a";
        return s + " }}";
      }(),
      [] {
        std::string s = "{{ a";
        for (int i = 0; i < 20'000; ++i) s += "|e";
        return s + " }}";
      }(),
      [] {
        std::string s = "{{ ";
        for (int i = 0; i < 20'000; ++i) s += "not ";
        return s + "1 }}";
      }(),
      [] {
        std::string s;
        for (int i = 0; i < 20'000; ++i) s += "{% if 1 %}";
        return s;
      }(),
      "{{ 10 ** 5000 }}",
      "{{ 10 ** (10 ** 10) }}",
      "{% set ns = namespace(i=3) %}{% for i in range(99) %}{% set ns.i = ns.i * ns.i %}{% endfor %}",
      "{% set ns = namespace(i=2 ** 100000) %}{% for i in range(99999) %}{% set ns.j = ns.i % 7 ** 20000 %}{% endfor "
      "%}",
  };
  for (const auto& source : hostile) {
    const auto start = std::chrono::steady_clock::now();
    const auto r = render(source);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_FALSE(r) << source.substr(0, 200);
    EXPECT_LT(seconds.count(), 5.0 * testing::patience) << source.substr(0, 200);
  }
}

// Runs `body` on a thread with a stack of that size.
void on_stack(std::size_t bytes, const std::function<void()>& body) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, bytes), 0);
  pthread_t thread{};
  auto* const run = +[](void* p) -> void* {
    (*static_cast<const std::function<void()>*>(p))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&body)), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

TEST(ChatTemplate, DeepRecursionEndsByALimitOnSmallStacksToo) {
  const auto nested = [](const char* open, const char* inner, const char* close, int n) {
    std::string s = "{{ ";
    for (int i = 0; i < n; ++i) s += open;
    s += inner;
    for (int i = 0; i < n; ++i) s += close;
    return s + " }}";
  };
  std::vector<std::string> sources = {
      "{% macro f(n) %}{% if true %}{{ (f(n + 1) | upper) ~ ['%s' % n] | join }}{% endif %}{% endmacro %}{{ f(0) }}",
      "{% macro f(n) %}{% for x in [1] recursive %}{% call f(n) %}{{ loop([f(1)]) }}{% endcall %}{% endfor %}{% "
      "endmacro %}{{ f(0) }}",
      "{% macro f(n) %}{% filter upper %}{% set x %}{% with y = f(n) %}{{ y }}{% endwith %}{% endset %}{% endfilter "
      "%}{% endmacro %}{{ f(0) }}",
      "{% block a %}{{ self.a() }}{% endblock %}",
      "{% set ns = namespace(l=1) %}{% for i in range(190) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}{{ ns.l | "
      "tojson }}{{ ns.l | pprint }}"
      "{{ ns.l == ns.l }}{{ [ns.l] | unique | list }}"};
  for (const int n : {10, 60, 190}) {
    sources.push_back(nested("[", "1", "]", n));
    sources.push_back(nested("(1 + ", "1", ")", n));
    sources.push_back(nested("not (", "1", ")", n));
    sources.push_back(nested("range(", "1", ")", n));
    sources.push_back(nested("{'a': ", "1", "}", n));
  }
  for (const std::size_t kib : {192, 256, 512, 8192}) {
    const std::size_t bytes =
        (kib << 10) * (halyard::testing::patience > 1 ? 4 : 1);  // a sanitizer's frames are larger
    on_stack(bytes, [&] {
      for (const auto& source : sources) {
        const auto r = render(source);
        if (!r) { EXPECT_NE(r.error().code, Errc::internal) << kib << ' ' << source.substr(0, 80) << r.error().str(); }
      }
      EXPECT_NE(error_of(sources[0]).find("too deeply"), std::string::npos) << kib;
      EXPECT_EQ(rendered("{{ [[[1]]] | tojson }}"), "[[[1]]]") << kib;
    });
  }
}

// Each is refused while no more than 64 MiB are held (by the budget's own count, which is of capacities), in the time that the
// steps of a small context allow.
TEST(ChatTemplate, LimitsHoldWhileTheyAreReached) {
  const auto doubled = [](const std::string& step) {
    return "{% set ns = namespace(s='xxxxxxxxxxxxxxxx', l=[1]) %}{% for i in range(60) %}" + step + "{% endfor %}";
  };
  const auto looped = [](const std::string& body) {
    return "{% for i in range(99999) %}{% for j in range(99999) %}" + body + "{% endfor %}{% endfor %}";
  };
  const std::string hostile[] = {
      doubled("{% set ns.s = ns.s ~ ns.s %}"),
      doubled("{% set ns.s = ns.s + ns.s %}"),
      doubled("{% set ns.l = ns.l + ns.l %}"),
      doubled("{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}"),
      doubled("{% set ns.s = ns.s | replace('x', 'xx') %}"),
      "{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} "
      "}}",
      "{% set ns = namespace(t=(1,)) %}{% for i in range(60) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ [ns.t] | "
      "unique | list }}",
      "{% set x = [1] | slice(10 ** 9, 'x') %}",
      "{% set x = ('a' * 10000000) | list %}",
      "{% set x = ('a ' * 10000000).split() %}",
      "{% set x = ('a\n' * 10000000).splitlines() %}",
      "{% set x = ('a' * 20000000)[1:] %}",
      "{% set x = ('a' * 20000000) | urlize %}",
      "{% set x = ('a ' * 10000000) | wordwrap(1) %}",
      "{% set x = ('a ' * 10000000) | wordcount %}",
      "{% set x = ('<' * 20000000) | e %}",
      "{% set x = ('a' * 20000000).encode() %}",
      looped(""),
      looped("{% set x = i + j * 2 - 1 %}"),
      looped("{% set x = 'ab c' | trim | upper | length %}"),
      looped("{% set x = ['b', 'a'] | sort | map('upper') | join(',') %}"),
      looped("{% set x = '<a b' | e | title | striptags | wordcount %}"),
      looped("{% set x = 2 ** 100 % 7 ** 9 %}"),
      looped("{% set x = zz %}"),
      "{% macro m(x) %}{{ x }}{% endmacro %}" + looped("{{ m(i) }}"),
      "{% for i in range(99999) %}{% set x = range(99999) %}{% endfor %}",
  };
  for (const std::string& source : hostile) {
    const auto body = jinja::parse(source);
    jinja::Interpreter interpreter;
    Errc code{};
    const double start = testing::thread_ms();
    try {
      interpreter.render(body, Json::object());
    } catch (const jinja::Failure& f) { code = f.code; }
    const double ms = testing::thread_ms() - start;
    fmt::print("{:5.1f} ms, {:4.1f} MiB: {}\n", ms, static_cast<double>(interpreter.budget.most_held()) / (1 << 20),
               source.substr(0, 110));
    EXPECT_EQ(code, Errc::limit_exceeded) << source;
    EXPECT_LE(interpreter.budget.most_held(), jinja::Budget::max_held) << source;
    EXPECT_LT(ms, 500.0 * testing::patience) << source;  // ten times what is wanted, for slow machines
  }
}

// Renders a hostile template: it must end within ten times what is wanted, for slow machines, and what the thread held in
// truth must not pass 64 MiB by more than its small things: objects, scopes, messages.
void expect_bounded(const std::string& source) {
  const auto body = jinja::parse(source);
  const testing::MostNew most;
  const double start = testing::thread_ms();
  {
    jinja::Interpreter interpreter;
    try {
      interpreter.render(body, Json::object());
    } catch (const jinja::Failure& f) { EXPECT_NE(f.code, Errc::internal) << source << ' ' << f.message; }
  }
  EXPECT_LT(testing::thread_ms() - start, 1000.0 * testing::patience) << source;
  EXPECT_LT(most.bytes(), jinja::Budget::max_held + (std::size_t{3} << 20)) << source;
}

// Parsing is bounded as rendering is: by the source's size, its tokens and its depth.
TEST(ChatTemplate, ParsingIsBounded) {
  const std::string dense[] = {"(",  "[",        "{{",          "{{1}}",     "1+", "'a'~",         "[0]",
                               "|e", "{%if 1%}", "{%set x=1%}", "{%endif%}", "1,", "a=1,",         "f(",
                               "1<", "{#",       "{%raw%}",     "{% ",       "-",  "a if a else ", "'\\x41"};
  for (const std::string& part : dense) {
    for (const char* const start : {"", "{{ ", "{% set x = ", "{% raw %}"}) {
      std::string source = start;
      while (source.size() + part.size() < (std::size_t{1} << 20)) source += part;
      const testing::MostNew most;
      const double begin = testing::thread_ms();
      (void)ChatTemplate::parse(source, "dense");
      EXPECT_LT(testing::thread_ms() - begin, 1000.0 * testing::patience) << start << part;
      EXPECT_LT(most.bytes(), jinja::Budget::max_held) << start << part;
    }
  }
  EXPECT_NE(error_of("{{ " + std::string(200'000, '(')).find("more than 65536"), std::string::npos);
}

// Every filter and every method of texts, as often as it may run over texts of each kind.
TEST(ChatTemplate, AllThatGoesThroughTextsIsCharged) {
  const char* const texts[] = {"'aB c' * 75000", "'\u00e9\u00df\u4e2d \u03a3' * 30000", "'&<a>' * 75000"};
  const char* const arguments[] = {"'a' * 100000 ~ 'c'", "'a'", "400000", "s"};
  // Calls of a builtin with each of the arguments, or the first, where it needs some.
  const auto calls = [&](const jinja::Builtin& b, bool each) {
    std::vector<std::string> all;
    for (const std::string argument : arguments) {
      std::string list;
      for (std::string_view rest = b.parameters; !rest.empty();) {
        const auto word = rest.substr(0, rest.find(' '));
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        if (word.ends_with('!')) list += (list.empty() ? "" : ", ") + argument;
      }
      all.push_back(std::string(b.name) + '(' + list + ')');
      if (list.empty() || !each) break;
    }
    return all;
  };
  for (const std::string text : texts) {
    const auto looped = [&](const std::string& expression) {
      expect_bounded("{% set s = " + text + " %}{% for i in range(99999) %}{% set x = " + expression +
                     " %}{% endfor %}");
    };
    for (const auto& filter : jinja::filters())
      for (const auto& c : calls(filter, text == texts[0])) looped("s | " + c);
    for (const auto& method : jinja::text_methods())
      for (const auto& c : calls(method, text == texts[0])) looped("s." + c);
    for (const char* expression : {"s[::-1]",
                                   "s[::2]",
                                   "s[1:]",
                                   "s[-1]",
                                   "s ~ s",
                                   "s * 2",
                                   "'%s' % s",
                                   "'%400000s' % s",
                                   "'{:>400000}'.format(s)",
                                   "('a' * 100000 ~ 'c') in s",
                                   "s.count('c' ~ 'a' * 100000)",
                                   "s == s ~ 'a'",
                                   "{s: 1}[s]",
                                   "{}[s]",
                                   "[][s]",
                                   "[s, s] | string",
                                   "{'a': s} | tojson",
                                   "s.split() | length",
                                   "s | list",
                                   "s is lower",
                                   "[1] | map(attribute=s) | list",
                                   "namespace(**{s: 1})",
                                   "(s | safe).unescape()",
                                   "'%.300f' % 1e300"})
      looped(expression);
  }
}

// Texts and lists that double until they are refused, and those that are large at once.
TEST(ChatTemplate, MemoryIsCheckedBeforeItIsTaken) {
  for (const char* step :
       {"ns.s | tojson", "ns.s | tojson | tojson", "('%' ~ ns.s) | urlencode", "(ns.s ~ ns.s) | upper",
        "(ns.s ~ '\n' ~ ns.s) | indent(2)", "(ns.s ~ ',' ~ ns.s).split(',') | join('yy')", "{'a': ns.s} | string",
        "[ns.s, ns.s] | string", "(ns.s ~ '<' ~ ns.s) | e", "(ns.s ~ ns.s) | title", "(ns.s ~ ns.s)[::-1]",
        "(ns.s ~ ns.s) | striptags", "(ns.s ~ ns.s) | wordwrap(5)", "ns.s | list | tojson", "'%s%s' % (ns.s, ns.s)",
        "'{}{}'.format(ns.s, ns.s)", "ns.s.join([ns.s, ns.s])", "(ns.s ~ ns.s).encode().decode()",
        "(ns.s ~ ns.s) | pprint"})
    for (const char* first : {"'xxxxxxxx'", "'\u00e9<\x01 '", "'\"\\\\ '"})
      expect_bounded(
          fmt::format("{{% set ns = namespace(s={}) %}}{{% for i in range(60) %}}{{% set ns.s = {} %}}{{% endfor %}}",
                      first, step));
  for (const char* step :
       {"ns.l + ns.l", "(ns.l * 2) | batch(1) | list", "(ns.l + ns.l) | sort", "(ns.l * 2) | groupby(0) | list",
        "(ns.l * 2) | slice(2) | list", "(ns.l * 2) | map('string') | list"})
    expect_bounded(fmt::format(
        "{{% set ns = namespace(l=[1, 2]) %}}{{% for i in range(60) %}}{{% set ns.l = {} %}}{{% endfor %}}", step));
  for (const char* use :
       {"upper", "list", "batch(1) | list", "tojson", "urlencode", "e", "indent", "title", "wordcount"})
    for (const int n : {4, 8, 16, 30}) expect_bounded(fmt::format("{{{{ ('a' * {}000000) | {} }}}}", n, use));
}

TEST(ChatTemplate, ALongTextMayBeGoneThroughMoreOften) {
  const std::string long_text = std::string(2'000'000, 'a') + " b";
  EXPECT_EQ(rendered("{% for i in range(2) %}{{ (s | trim | upper)[-1] }}{{ s.split(' ')[-1] }}{{ '</think>' in s }}"
                     "{{ (s | tojson | length) > s | length }}{% endfor %}",
                     Json::object({{"s", long_text}})),
            "BbFalseTrueBbFalseTrue");
}

TEST(ChatTemplate, GivesBackWhatValuesHeld) {
  const Json context = Json::object({{"s", std::string(100'000, 'x')}});
  // A gigabyte in all would be refused as built; 60 MB built and dropped a tenth at a time are not held.
  EXPECT_EQ(rendered("{% for i in range(150) %}{% set x = s ~ s ~ s %}{% endfor %}ok", context), "ok");
  jinja::Interpreter interpreter;
  interpreter.render(jinja::parse("{% for i in range(150) %}{% set x = s ~ s ~ s %}{% endfor %}"), context);
  EXPECT_LT(interpreter.budget.most_held(), std::size_t{4} << 20);
}

// What a template may do grows with what it is given: here each of 1,000 messages looks through all of them.
TEST(ChatTemplate, ALongChatMayTakeMoreStepsThanAShortOne) {
  Json messages = Json::array();
  for (int i = 0; i < 1000; ++i)
    messages.push_back(Json::object({{"role", i % 2 ? "assistant" : "user"}, {"content", "text"}}));
  EXPECT_EQ(
      rendered(
          "{% for m in messages %}{% set u = messages | selectattr('role', 'equalto', 'user') | list %}{% endfor %}ok",
          Json::object({{"messages", messages}})),
      "ok");
}

TEST(ChatTemplate, IsBoundedOnHostileContextsToo) {
  Json deep = 1;
  for (int i = 0; i < 500; ++i) deep = Json::array({deep});
  EXPECT_NE(error_of("x", Json::object({{"a", deep}})).find("deeper"), std::string::npos);
  EXPECT_EQ(rendered("{{ a + 1 }}", Json::object({{"a", 18446744073709551615u}})), "18446744073709551616");
  EXPECT_EQ(rendered("{{ a | length }}", Json::object({{"a", "\xff\xfe z"}})), "4");
  EXPECT_FALSE(ChatTemplate::parse("x", "t")->render(Json::array()));
}

// Python's json.loads, str() and json.dumps.
TEST(ChatTemplate, IntegersOfMessagesAndSchemasAreExact) {
  const auto shown = [](const std::string& json) {
    const auto context = parse_json(json, {.exact_integers = true});
    EXPECT_TRUE(context) << json;
    return context ? rendered("{{ a + 1 }}|{{ a is integer }}|{{ {'a': [a]} | tojson }}", *context) : "";
  };
  EXPECT_EQ(shown(R"({"a":18446744073709551615})"), R"(18446744073709551616|True|{"a": [18446744073709551615]})");
  EXPECT_EQ(shown(R"({"a":18446744073709551616})"), R"(18446744073709551617|True|{"a": [18446744073709551616]})");
  EXPECT_EQ(shown(R"({"a":-9223372036854775809})"), R"(-9223372036854775808|True|{"a": [-9223372036854775809]})");
  EXPECT_EQ(shown(R"({"a":1000000000000000019884624838656})"),
            R"(1000000000000000019884624838657|True|{"a": [1000000000000000019884624838656]})");
  const std::string nines(400, '9');  // beyond every double
  EXPECT_EQ(shown("{\"a\":" + nines + "}"), "1" + std::string(400, '0') + "|True|{\"a\": [" + nines + "]}");
  EXPECT_NE(error_of("x", testing::json_of("{\"a\":" + std::string(4301, '9') + "}")).find("4300 digits"),
            std::string::npos);
}

TEST(ChatTemplate, RepeatedMarkupStaysMarkup) {
  EXPECT_EQ(rendered("{{ (('<' | safe) * 3) | e }}{{ (('<b>' | safe) * 5) | e }}{{ '<' * 2 | int }}{{ 'ab' * 0 }}"),
            "<<<<b><b><b><b><b><<");
}

TEST(ChatTemplate, RendersFromManyThreadsAtOnce) {
  const auto t = ChatTemplate::parse("{% set x = 'a' ~ n %}{% for i in range(100) %}{{ x | upper }}{% endfor %}", "t");
  ASSERT_TRUE(t);
  std::vector<std::string> got(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] { got[i] = t->render(Json::object({{"n", i}})).value_or("failed"); });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(got[i].substr(0, 4), "A" + std::to_string(i) + "A" + std::to_string(i));
}

TEST(ChatTemplate, StrftimeNowTellsTheDate) {
  const auto year = rendered("{{ strftime_now('%Y') }}");
  EXPECT_EQ(year.size(), 4u);
  EXPECT_GE(year, "2024");
  EXPECT_EQ(rendered("{{ strftime_now('') }}{{ strftime_now('%%') }}"), "%");
}

TEST(ChatContext, MakesWhatTransformersPasses) {
  const auto c = chat_context(Json::object({{"messages", Json::array({Json::object({{"role", "user"}})})},
                                            {"enable_thinking", false},
                                            {"kwargs", Json::object({{"add_generation_prompt", true}, {"x", 1}})},
                                            {"bos_token", "<s>"},
                                            {"eos_token", nullptr}}));
  ASSERT_TRUE(c) << c.error().str();
  EXPECT_EQ(c->dump(), R"({"messages":[{"role":"user"}],"tools":null,"documents":null,"add_generation_prompt":true,)"
                       R"("enable_thinking":false,"bos_token":"<s>","x":1})");
}

// Written by testdata/jinja/make_chats.py from what transformers' apply_chat_template hands to a template.
TEST(ChatContext, HandsMessagesOverAsTransformersDoes) {
  const auto path = testing::source_dir() / "testdata" / "jinja" / "contexts.json";
  const Json file = read_json(path);
  ASSERT_GT(file["cases"].size(), 10u);
  for (const auto& c : file["cases"]) {
    const auto context = chat_context(c["input"]);
    if (c.contains("error")) {
      EXPECT_FALSE(context) << c["input"] << " must fail: " << c["error"];
      continue;
    }
    ASSERT_TRUE(context) << context.error().str();
    for (const auto& [key, value] : c["seen"].items()) EXPECT_EQ((*context)[key].dump(), value.dump()) << c["input"];
  }
}

// Written by testdata/jinja/make_suite.py: templates in the manner of the model families × conversations, rendered by
// transformers' apply_chat_template: [template, conversation, add_generation_prompt, text or null].
TEST(ChatTemplate, RendersTheFamiliesSuiteByteForByte) {
  const Json suite = read_json(testing::source_dir() / "testdata" / "jinja" / "suite.json");
  ASSERT_GT(suite["cases"].size(), 500u);
  for (const auto& c : suite["cases"]) {
    Json input = suite["conversations"][c[1].get<std::string>()];
    for (const auto& [name, token] : suite["tokens"].items()) input[name] = token;
    input["add_generation_prompt"] = c[2];
    const auto context = chat_context(input);
    ASSERT_TRUE(context) << context.error().str();
    const auto got = render(suite["templates"][c[0].get<std::string>()].get<std::string>(), *context);
    if (c[3].is_null()) {
      EXPECT_FALSE(got) << c << "\nmust fail but gives " << *got;
    } else {
      EXPECT_TRUE(got) << c << '\n' << got.error().str();
      if (got) { EXPECT_EQ(*got, c[3].get<std::string>()) << c[0] << ' ' << c[1]; }
    }
  }
}

TEST(ChatContext, RefusesOtherForms) {
  for (const char* input : {"[]", "{}", R"({"messages":{}})", R"({"messages":[1]})", R"({"messages":[{}],"tools":3})",
                            R"({"messages":[{}],"tools":["f"]})", R"({"messages":[{}],"documents":[1]})",
                            R"({"messages":[{}],"kwargs":[]})", R"({"messages":[{}],"kwargs":{"messages":[]}})",
                            R"({"messages":[{}],"enable_thinking":1,"kwargs":{"enable_thinking":1}})"})
    EXPECT_FALSE(chat_context(*parse_json(input))) << input;
  const auto unknown = chat_context(
      Json::object({{"messages", Json::array({Json::object({{"role", "user"}})})}, {"add_generation_promt", true}}));
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("\"add_generation_promt\""), std::string::npos) << unknown.error().message;
}

}  // namespace
}  // namespace halyard
