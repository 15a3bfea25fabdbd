#include "halyard/base/json.h"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/environment.h"
#include "halyard/base/quote.h"

namespace halyard {
namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

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
  EXPECT_EQ(parse_ordered_json(text + R"(,"first":2})", {.unique_keys = false})->dump(), want + "}");
  EXPECT_FALSE(parse_ordered_json(text + R"(,"first":2})"));
  EXPECT_FALSE(parse_ordered_json(R"({"a":1,"a":2})"));
}

TEST(Json, KeepsTheOrderWhereAsked) { EXPECT_EQ(parse_ordered_json(R"({"z":1,"a":2})")->dump(), R"({"z":1,"a":2})"); }

TEST(Json, SaysWhereItIsNotJsonInPlainUtf8) {
  EXPECT_EQ(parse_json("{\"a\":1,\n  \"b\": \xff}").error().message,
            "not valid JSON: line 2, column 8: expected a value, found \"\\xff}\"");
  EXPECT_EQ(parse_json("[1").error().message, "not valid JSON: line 1, column 3: expected ',' or ']', the text ends");
}

TEST(Json, NumbersAreWhatTheyAre) {
  EXPECT_EQ(parse_json("18446744073709551615")->get<std::uint64_t>(), UINT64_MAX);
  EXPECT_EQ(parse_json("-9223372036854775808")->get<std::int64_t>(), INT64_MIN);
  EXPECT_TRUE(parse_json("18446744073709551616")->is_number_float());
  EXPECT_TRUE(parse_json("-9223372036854775809")->is_number_float());
  EXPECT_EQ(parse_json("1e-999")->get<double>(), 0.0);
  EXPECT_TRUE(std::signbit(parse_json("-0.0001e-9999999999999999999999")->get<double>()));
  EXPECT_EQ(parse_json("5e-324")->get<double>(), 5e-324);
  EXPECT_FALSE(parse_json("1e9999999999999999999999"));
  EXPECT_EQ(parse_json("0.1")->get<double>(), 0.1);
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

// Random damage to texts that hold every kind of value: nlohmann's parser and this one accept the same and read the same.
TEST(Json, AgreesWithAnotherParserOnDamagedTexts) {
  const auto given = environment("HALYARD_SEED");
  const unsigned seed =
      given ? static_cast<unsigned>(std::strtoul(given->c_str(), nullptr, 10)) : std::random_device{}();
  SCOPED_TRACE(fmt::format("HALYARD_SEED={}", seed));
  std::mt19937 random(seed);
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
    Json theirs = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    const bool ok = !theirs.is_discarded();
    const auto ours = parse_json(text, {.unique_keys = false});
    ASSERT_EQ(ours.has_value(), ok) << printable(text);
    if (!ok) continue;
    ++accepted;
    ASSERT_EQ(*ours, theirs) << printable(text);
    ASSERT_EQ(ours->dump(), theirs.dump()) << printable(text);
  }
  EXPECT_GT(accepted, 1000);
}

// Times are for reading; that twice the text takes about twice the time is what is asserted, loosely.
TEST(Json, TimeIsLinearInObjectsAndKeys) {
  const auto objects = [](int n) {
    std::string text = "{";
    for (int i = 0; i < n; ++i) text += fmt::format("{}\"k{}\":{{}}", i ? "," : "", i);
    return text + "}";
  };
  const std::string small = objects(40'000), large = objects(320'000);
  for (const bool ordered : {false, true}) {
    const auto parse = [&](const std::string& text) {
      return seconds_of(
          [&] { EXPECT_TRUE(ordered ? parse_ordered_json(text).has_value() : parse_json(text).has_value()); });
    };
    const double first = std::min(parse(small), parse(small)), second = std::min(parse(large), parse(large));
    const double theirs = seconds_of([&] { EXPECT_EQ(Json::parse(large).size(), 320'000U); });
    fmt::print("{} objects: 40,000 in {:.1f} ms, 320,000 in {:.1f} ms; nlohmann's own parser {:.1f} ms\n",
               ordered ? "ordered" : "sorted", first * 1e3, second * 1e3, theirs * 1e3);
    EXPECT_LT(second, 40 * first + 0.1);  // quadratic would be 64 times and more
  }
}

}  // namespace
}  // namespace halyard
