#include "halyard/base/json.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <regex>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/environment.h"
#include "halyard/base/guarded.h"
#include "halyard/base/json_members.h"
#include "halyard/base/quote.h"
#include "halyard/base/utf8.h"
#include "halyard/testing/cpu_time.h"
#include "halyard/testing/fail_new.h"

namespace halyard {
namespace {

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           "{",
                           "[1,]",
                           "{\"a\":1}x",
                           "NaN",
                           "{\"a\":\"\xff\"}",
                           "01",
                           "-",
                           "1.",
                           ".5",
                           "1e",
                           "+1",
                           "[",
                           "]",
                           "{\"a\" 1}",
                           "{,}",
                           "{\"a\":1,}",
                           "[1 2]",
                           "\"\t\"",
                           "\"\\x\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "tru",
                           "nul",
                           "'a'",
                           "1e999",
                           "\"a",
                           "[}",
                           "{]",
                           "\xef\xbb",
                           "{1:2}",
                           "\"\xed\xa0\x80\""})
    EXPECT_FALSE(parse_json(text)) << text;
}

TEST(Json, RefusesDepthAndRepeatedKeys) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_NE(parse_json(deep).error().message.find("nested deeper"), std::string::npos);
  EXPECT_NE(parse_json(R"({"a":{"b":1,"b":2}})").error().message.find("\"b\""), std::string::npos);
  EXPECT_TRUE(parse_json(R"({"a":{"b":1},"c":{"b":2}})"));
  EXPECT_TRUE(parse_json(R"({"b":1,"b":2})", {.unique_keys = false}));
}

TEST(Json, OfARepeatedKeyTheLastWinsInItsFirstPlace) {
  EXPECT_EQ(parse_json(R"({"b":1,"b":{"c":2}})", {.unique_keys = false})->dump(), R"({"b":{"c":2}})");
  std::string text = R"({"first":1)", want = R"({"first":2)";
  for (int i = 0; i < 100; ++i) {  // past the number from which keys are indexed
    text += fmt::format(",\"k{0}\":{0}", i);
    want += fmt::format(",\"k{0}\":{0}", i);
  }
  EXPECT_EQ(parse_json(text + R"(,"first":2})", {.unique_keys = false})->dump(), want + "}");
  EXPECT_FALSE(parse_json(text + R"(,"first":2})"));
  EXPECT_FALSE(parse_json(R"({"a":1,"a":2})"));
}

TEST(Json, SaysWhereItIsNotJsonInPlainUtf8) {
  EXPECT_EQ(parse_json("{\"a\":1,\n  \"b\": \xff}").error().message,
            "not valid JSON: line 2, column 8: expected a value, found \"\\xff}\"");
  EXPECT_EQ(parse_json("[1").error().message, "not valid JSON: line 1, column 3: expected ',' or ']', the text ends");
}

TEST(Json, NumbersAreWhatTheyAre) {
  EXPECT_EQ(parse_json("18446744073709551615")->get<std::uint64_t>(), UINT64_MAX);
  EXPECT_EQ(parse_json("9223372036854775807")->get<std::int64_t>(), INT64_MAX);
  EXPECT_EQ(parse_json("-9223372036854775808")->get<std::int64_t>(), INT64_MIN);
  for (const char* text :
       {"18446744073709551615", "9223372036854775808", "9223372036854775807", "-9223372036854775808", "-1"}) {
    EXPECT_TRUE(parse_json(text)->is_integer()) << text;
    EXPECT_EQ(parse_json(text)->dump(), text);
  }
  EXPECT_EQ(*parse_json("-0"), 0);
  EXPECT_EQ(*parse_json("18446744073709551616"), 0x1p64);
  EXPECT_EQ(*parse_json("-9223372036854775809"), -0x1p63);
  EXPECT_EQ(parse_json("1e-999")->get<double>(), 0.0);
  EXPECT_TRUE(std::signbit(parse_json("-0.0001e-9999999999999999999999")->get<double>()));
  EXPECT_EQ(parse_json("5e-324")->get<double>(), 5e-324);
  EXPECT_FALSE(parse_json("1e9999999999999999999999"));
  EXPECT_EQ(parse_json("0.1")->get<double>(), 0.1);
}

TEST(Json, LargeIntegersKeepTheirDigitsWhereAsked) {
  const std::string nines(400, '9');  // beyond any double
  for (const std::string& text : {std::string("18446744073709551616"), std::string("-9223372036854775809"), nines}) {
    const Json json = *parse_json("[" + text + "]", {.exact_integers = true});
    EXPECT_EQ(json[0].type(), Json::Type::digits);
    EXPECT_EQ(json[0].text(), text);
    EXPECT_EQ(json.dump(), "[" + text + "]");
    EXPECT_EQ(json[0], Json::from_digits(text));
  }
  EXPECT_FALSE(parse_json(nines));
}

TEST(Json, MoreValuesThanAllowedAreRefused) {
  EXPECT_TRUE(parse_json("[1,2,3]", {.max_values = 4}));
  EXPECT_EQ(parse_json("[1,2,3,4]", {.max_values = 4}).error().code, Errc::limit_exceeded);
}

TEST(Json, MembersComeOneByOneInOrder) {
  std::string seen;
  const auto note = [&](std::string_view key, const Json& value) -> Result<void> {
    seen += fmt::format("{}={};", key, value.dump());
    return {};
  };
  ASSERT_TRUE(read_json_members(R"({"z":[1,{"q":[]}],"a":null,"z":{"b":{}},"s":"x"})", note));
  EXPECT_EQ(seen, R"(z=[1,{"q":[]}];a=null;z={"b":{}};s="x";)");
  for (const char* text : {"[]", "[[1]]", "7", "{\"a\":1", "{\"a\":{\"b\":1,\"b\":2}}"})
    EXPECT_FALSE(read_json_members(text, note)) << text;
  const auto stop = [](std::string_view, const Json&) -> Result<void> { return fail(Errc::unsupported, "enough"); };
  EXPECT_EQ(read_json_members(R"({"a":1})", stop).error().code, Errc::unsupported);
}

// RFC 8259 as it is written: slow, recursive, numbers by strtod. Of a key that stands twice the last value counts.
class Grammar {
 public:
  explicit Grammar(std::string_view text) : rest_(text.substr(text.starts_with("\xef\xbb\xbf") ? 3 : 0)) {}
  /// Null where the text is no JSON.
  std::unique_ptr<Json> whole() {
    auto json = std::make_unique<Json>();
    space();
    if (!value(*json) || (space(), !rest_.empty())) json.reset();
    return json;
  }

 private:
  void space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
  bool take(std::string_view word) {
    const bool there = rest_.starts_with(word);
    if (there) rest_.remove_prefix(word.size());
    return there;
  }
  bool value(Json& out) {
    if (take("null")) return true;
    if (take("true")) return out = true, true;
    if (take("false")) return out = false, true;
    if (take("[")) return list(out = Json::array(), "]", [&] { return value(out.push_back(nullptr)); });
    if (take("{"))
      return list(out = Json::object(), "}", [&] {
        std::string key;
        if (!string(key) || (space(), !take(":"))) return false;
        space();
        return value(out[key] = nullptr);
      });
    std::string text;
    if (rest_.starts_with('"')) return string(text) && (out = text, true);
    return number(out);
  }
  bool list(Json&, std::string_view end, const std::function<bool()>& element) {
    for (space(); !take(end);) {
      if (!element()) return false;
      space();
      if (take(end)) return true;
      if (!take(",")) return false;
      space();
      if (rest_.starts_with(end)) return false;
    }
    return true;
  }
  bool number(Json& out) {
    static const std::regex form("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?");
    std::cmatch match;
    if (!std::regex_search(rest_.begin(), rest_.end(), match, form, std::regex_constants::match_continuous))
      return false;
    const std::string text = match[0];
    rest_.remove_prefix(text.size());
    errno = 0;
    const bool integer = !match[2].matched && !match[3].matched;
    if (integer && text[0] == '-') out = std::strtoll(text.c_str(), nullptr, 10);
    else if (integer) out = std::strtoull(text.c_str(), nullptr, 10);
    if (!integer || errno == ERANGE) out = std::strtod(text.c_str(), nullptr);
    return !out.is_real() || std::isfinite(out.get<double>());
  }
  bool unit(unsigned& out) {
    const bool hex = rest_.size() >= 4 && rest_.substr(0, 4).find_first_not_of("0123456789abcdefABCDEF") == rest_.npos;
    if (!hex) return false;
    out = static_cast<unsigned>(std::stoul(std::string(rest_.substr(0, 4)), nullptr, 16));
    rest_.remove_prefix(4);
    return true;
  }
  bool string(std::string& out) {
    if (!take("\"")) return false;
    while (!take("\"")) {
      if (rest_.empty() || (rest_[0] >= 0 && rest_[0] < 0x20)) return false;
      unsigned high = 0, low = 0;
      const std::string_view escapes = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
      if (!take("\\")) {
        out += rest_[0];
        rest_.remove_prefix(1);
      } else if (take("u")) {
        if (!unit(high) || (high >= 0xdc00 && high < 0xe000)) return false;
        if (high >= 0xd800 && high < 0xdc00) {
          if (!take("\\u") || !unit(low) || low < 0xdc00 || low >= 0xe000) return false;
          high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        }
        const int more = high < 0x80 ? 0 : high < 0x800 ? 1 : high < 0x10000 ? 2 : 3;
        out += static_cast<char>(more ? (0xff00 >> (more + 1) & 0xff) | high >> 6 * more : high);
        for (int i = more; i-- > 0;) out += static_cast<char>(0x80 | (high >> 6 * i & 0x3f));
      } else {
        const auto i = rest_.empty() ? escapes.npos : escapes.find(rest_[0]);
        if (i == escapes.npos) return false;
        out += meant[i];
        rest_.remove_prefix(1);
      }
    }
    return find_invalid_utf8(out) == out.npos;
  }

  std::string_view rest_;
};

unsigned seed() {
  const auto given = environment("HALYARD_SEED");
  return given ? static_cast<unsigned>(std::strtoul(given->c_str(), nullptr, 10)) : std::random_device{}();
}

// Random damage to texts that hold every kind of value: the grammar and the parser accept the same and read the same.
TEST(Json, AgreesWithTheGrammarOnDamagedTexts) {
  const unsigned by = seed();
  SCOPED_TRACE(fmt::format("HALYARD_SEED={}", by));
  std::mt19937 random(by);
  const std::string texts[] = {
      R"({"a":[1,-2,3.5e-7,true,false,null,{"b":{}}],"key é":"\u00e9\ud83d\ude00\n\"\\\/","n":18446744073709551616})",
      "\xef\xbb\xbf [ [], {}, [[ ]], {\"x\" : -0 , \"y\":0.0}, \"漢字 \xf0\x9f\x98\x80\", 1E+10, -9223372036854775808 "
      "]\n"};
  const std::string alphabet = "{}[]\",:\\u0123456789eE+-. \n\ttrufalsnd\xc3\xa9\xed\xf0\x80\xff\x1f";
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  int accepted = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string text = texts[round % 2];
    for (std::size_t n = 1 + below(3); n > 0; --n) {
      const std::size_t at = below(text.size());
      const std::string with(1, alphabet[below(alphabet.size())]);
      text.replace(at, below(2), below(3) ? with : std::string());
    }
    const std::unique_ptr<Json> theirs = Grammar(text).whole();
    const auto ours = parse_json(text, {.unique_keys = false});
    ASSERT_EQ(ours.has_value(), theirs != nullptr) << printable(text);
    if (!theirs) continue;
    ++accepted;
    ASSERT_EQ(*ours, *theirs) << printable(text);
    ASSERT_EQ(ours->dump(), theirs->dump()) << printable(text);
  }
  EXPECT_GT(accepted, 1000);
}

// A random value; `depth` containers may nest.
Json random_json(std::mt19937_64& random, int depth) {
  const auto text = [&] {
    std::string s;
    for (auto n = random() % 20; n > 0; --n) s += static_cast<char>(random() % 128);
    return random() % 2 ? s + "é漢😀" : s;
  };
  switch (random() % (depth ? 8 : 6)) {
    case 0: return nullptr;
    case 1: return random() % 2 == 0;
    case 2: return static_cast<std::int64_t>(random()) >> random() % 64;
    case 3: return random() >> random() % 64;
    case 4: return std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 1000) - 500);
    case 5: return text();
    case 6: {
      Json array = Json::array();
      for (auto n = random() % 6; n > 0; --n) array.push_back(random_json(random, depth - 1));
      return array;
    }
    default: {
      Json object = Json::object();
      for (auto n = random() % (random() % 8 ? 6 : 60); n > 0; --n) object[text()] = random_json(random, depth - 1);
      return object;
    }
  }
}

TEST(Json, WhatIsDumpedReadsBackTheSame) {
  const unsigned by = seed();
  SCOPED_TRACE(fmt::format("HALYARD_SEED={}", by));
  std::mt19937_64 random(by);
  for (int i = 0; i < 2000; ++i) {
    const Json json = random_json(random, 5);
    for (const int indent : {-1, 0, 2}) {
      const std::string text = json.dump(indent);
      const auto back = parse_json(text);
      ASSERT_TRUE(back) << text;
      ASSERT_EQ(*back, json) << text;
      ASSERT_EQ(back->dump(indent), text);
    }
  }
}

TEST(Json, DoublesReadBackTheSameInTheFewestDigits) {
  const unsigned by = seed();
  SCOPED_TRACE(fmt::format("HALYARD_SEED={}", by));
  std::mt19937_64 random(by);
  for (int i = 0; i < 200'000; ++i) {
    const double x = std::bit_cast<double>(random());
    const std::string text = Json(x).dump();
    if (!std::isfinite(x) || text.find('e') == text.npos) continue;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(std::strtod(text.c_str(), nullptr)), std::bit_cast<std::uint64_t>(x))
        << text;
    const Json back = *parse_json(text);
    ASSERT_TRUE(back.is_real()) << text;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back.get<double>()), std::bit_cast<std::uint64_t>(x)) << text;
    const auto digits = std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(text.find('e')),
                                      [](char c) { return c >= '0' && c <= '9'; });
    if (digits > 1) { ASSERT_NE(std::strtod(fmt::format("{:.{}e}", x, digits - 2).c_str(), nullptr), x) << text; }
  }
}

TEST(Json, IsDumpedAsItAlwaysWas) {
  const std::pair<double, const char*> doubles[] = {{0.0, "0.0"},
                                                    {-0.0, "-0.0"},
                                                    {1.0, "1.0"},
                                                    {100.0, "100.0"},
                                                    {1e14, "100000000000000.0"},
                                                    {1e15, "1e+15"},
                                                    {0.5, "0.5"},
                                                    {0.001, "0.001"},
                                                    {0.0001, "0.0001"},
                                                    {0.00001, "1e-05"},
                                                    {123.456, "123.456"},
                                                    {1.5e300, "1.5e+300"},
                                                    {-2.5e-10, "-2.5e-10"},
                                                    {5e-324, "5e-324"},
                                                    {NAN, "null"},
                                                    {HUGE_VAL, "null"}};
  for (const auto& [x, text] : doubles) EXPECT_EQ(Json(x).dump(), text);
  EXPECT_EQ(Json("\"\\/\b\f\n\r\t\x01\x1f\x7f é").dump(), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f é\"");
  EXPECT_EQ(Json("a\xff\xe6\x97z\xed\xa0\x80").dump(), "\"a\ufffd\ufffdz\ufffd\ufffd\ufffd\"");
  const Json json =
      Json::object({{"a", Json::array({1, Json::array(), Json::object()})}, {"b", Json::object({{"c", nullptr}})}});
  EXPECT_EQ(json.dump(), R"({"a":[1,[],{}],"b":{"c":null}})");
  EXPECT_EQ(json.dump(2), "{\n  \"a\": [\n    1,\n    [],\n    {}\n  ],\n  \"b\": {\n    \"c\": null\n  }\n}");
}

TEST(Json, ObjectsKeepTheirOrderAndFindTheirKeys) {
  for (const int count : {3, 16, 17, 1000, 100'000}) {
    Json json = Json::object();
    const auto key = [](int i) {
      return fmt::format("{}{}", i % 2 ? "k" : "a key longer than short ones are ", i * 7919 % 100'003);
    };
    for (int i = 0; i < count; ++i) EXPECT_TRUE(json.add(key(i)).second);
    for (int i = 0; i < count; ++i) json[key(i)] = i;
    ASSERT_EQ(json.size(), static_cast<std::size_t>(count));
    const Json copy = json;
    int next = 0;
    for (const auto& [name, value] : copy.items()) {
      EXPECT_EQ(name, key(next));
      EXPECT_EQ(value, next++);
    }
    for (int i = 0; i < count; ++i) EXPECT_EQ(copy[key(i)], i);
    EXPECT_FALSE(copy.contains("k"));
    EXPECT_TRUE(copy["k"].is_null());
    json.erase(key(1));
    json.erase("k");
    EXPECT_EQ(json.size(), static_cast<std::size_t>(count) - 1);
    EXPECT_FALSE(json.contains(key(1)));
    EXPECT_EQ(json[key(2)], 2);
    json[key(1)] = "again";
    EXPECT_EQ(json.size(), static_cast<std::size_t>(count));
    EXPECT_NE(json, copy);
    json[json[key(1)].text()] = 3;  // "again"
    EXPECT_EQ(json["again"], 3);
    json.erase("again");
    json[key(1)] = 1;
    EXPECT_EQ(json, copy);  // whatever the order
  }
}

TEST(Json, IsCopiedMovedAndAssignedToItself) {
  const Json whole =
      *parse_json(R"({"a":[1,"a string that is longer than short ones",{"b":2.5}],"c":"short","d":[],"e":{}})");
  Json copy = whole;
  EXPECT_EQ(copy, whole);
  Json moved = std::move(copy);
  EXPECT_TRUE(copy.is_null());  // NOLINT: that is the promise
  EXPECT_EQ(moved, whole);
  Json& itself = moved;
  moved = itself;
  EXPECT_EQ(moved, whole);
  moved = std::move(itself);
  EXPECT_EQ(moved, whole);
  copy = moved;
  copy["a"][0] = "changed";
  EXPECT_NE(copy, whole);
  EXPECT_EQ(moved, whole);
  moved = moved["a"];
  EXPECT_EQ(moved, whole["a"]);
  moved = std::move(moved[2]["b"]);
  EXPECT_EQ(moved, 2.5);
  moved.swap(copy);
  EXPECT_EQ(moved["c"], "short");
  EXPECT_EQ(copy, 2.5);
}

TEST(Json, GivesWhatIsAskedForOrNothing) {
  const Json json = *parse_json(R"({"n":3,"x":2.5,"s":"text","b":true,"list":[1,2]})");
  EXPECT_EQ(json["n"].get<int>(), 3);
  EXPECT_EQ(json["n"].get<double>(), 3.0);
  EXPECT_EQ(json["x"].get<int>(), 2);
  EXPECT_EQ(json["s"].get<std::string>(), "text");
  EXPECT_EQ(json["list"].get<std::vector<int>>(), (std::vector{1, 2}));
  EXPECT_TRUE(json["b"].get<bool>());
  EXPECT_EQ(json["s"].get<int>(), 0);
  EXPECT_EQ(json["n"].get<std::string>(), "");
  EXPECT_FALSE(json["n"].get<bool>());
  EXPECT_TRUE(json["n"]["no object"][7].is_null());
  EXPECT_EQ(json["list"]["no object"].size(), 0U);
  EXPECT_EQ(Json(1), Json(1.0));
  EXPECT_NE(Json(-1), Json(UINT64_MAX));
  EXPECT_EQ(Json(std::int64_t{5}), Json(std::uint64_t{5}));
  EXPECT_NE(Json("1"), Json(1));
  EXPECT_EQ(std::string(json.type_name()) + ' ' + std::string(json["x"].type_name()), "object number");
}

TEST(Json, DestructionMovesAndSwapsAskForNoMemory) {
  std::string text = R"({"deep":)" + std::string(120, '[') + std::string(120, ']');
  for (int i = 0; i < 100; ++i)
    text += fmt::format(R"(,"a key that is longer than short ones {}":["{}",{{"x":[1.5]}}])", i, std::string(60, 'v'));
  auto json = std::make_unique<Json>(parse_json(text + "}").value());
  Json other = *json;
  const testing::FailNew fail(1);
  Json third = std::move(*json);
  third.swap(other);
  *json = std::move(third);
  other = nullptr;
  json->erase("deep");
  json.reset();
  EXPECT_FALSE(fail.failed());
}

TEST(Json, MemoryThatRunsOutLeavesTheValueAsItWas) {
  Json json = Json::object();
  for (int i = 0; i < 40; ++i) {
    const Json before = json;
    for (std::uint64_t n = 1;; ++n) {
      bool failed = false;
      {
        const testing::FailNew fail(n);
        try {
          json[i % 2 ? "a key that is longer than short ones are" + std::to_string(i) : std::to_string(i)] =
              Json::array({i});
        } catch (const std::bad_alloc&) {}
        failed = fail.failed();
      }
      if (!failed) break;
      ASSERT_TRUE(json == before || json.size() == before.size() + 1);  // null where only its value failed
    }
    ASSERT_EQ(json.size(), before.size() + 1);
  }
  const std::string text = json.dump();
  for (std::uint64_t n = 1;; ++n) {
    const testing::FailNew fail(n);
    try {
      const Json copy = json;
      const auto read = guarded([&] { return parse_json(text); });
      if (!read) throw std::bad_alloc();
    } catch (const std::bad_alloc&) {}
    if (!fail.failed()) break;
  }
}

// What JsonLimits says, counted from the allocator's blocks; the parser's own text is the caller's.
TEST(Json, AValueTakesUpTo100Bytes) {
  const auto many = [](char open, const std::string& item, char close) {
    std::string text(1, open);
    for (int i = 0; i < 270'000; ++i) text += (i ? "," : "") + fmt::format(fmt::runtime(item), i);
    return text + close;
  };
  const std::pair<std::string, std::size_t> texts[] = {
      {many('[', "0", ']'), 1},           {many('[', "[]", ']'), 1},
      {many('[', "[0]", ']'), 2},         {many('[', "[[0]]", ']'), 3},
      {many('[', R"({{"":0}})", ']'), 2}, {many('{', R"("{}":0)", '}'), 1},
      {many('{', R"("{}":[0])", '}'), 2}, {many('{', R"("{}":{{"":[]}})", '}'), 2}};
  for (const auto& [text, values] : texts) {
    const testing::MostNew most;
    const auto json = parse_json(text);
    ASSERT_TRUE(json);
    const double each = static_cast<double>(most.bytes()) / static_cast<double>(json->size() * values);
    fmt::print("{:.1f} bytes a value: {}\n", each, text.substr(0, 20));
    EXPECT_LE(each, 100) << text.substr(0, 20);
  }
}

// Times are for reading; that eight times the text takes about eight times the time is what is asserted, loosely.
TEST(Json, TimeIsLinearInObjectsAndKeys) {
  const auto objects = [](int n) {
    std::string text = "{";
    for (int i = 0; i < n; ++i) text += fmt::format("{}\"k{}\":{{}}", i ? "," : "", i);
    return text + "}";
  };
  const auto parse = [](const std::string& text) {
    const double start = testing::thread_ms();
    EXPECT_TRUE(parse_json(text));
    return testing::thread_ms() - start;
  };
  const std::string small = objects(40'000), large = objects(320'000);
  const double first = std::min(parse(small), parse(small)), second = std::min(parse(large), parse(large));
  fmt::print("40,000 objects in {:.1f} ms, 320,000 in {:.1f} ms\n", first, second);
  EXPECT_LT(second, 40 * first + 100);  // quadratic would be 64 times and more
}

}  // namespace
}  // namespace halyard
