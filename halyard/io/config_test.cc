#include "halyard/io/config.h"

#include <gtest/gtest.h>

namespace halyard {
namespace {

const Json& sample() {
  static const Json json =
      *parse_json(R"({"n": 64, "f": 0.5, "s": "64", "b": true, "none": null, "neg": -2, "big": 4611686018427387904,
    "huge": 18446744073709551615, "inf": {"__float__": "Infinity"}, "minus": "-Infinity", "list": [1, 2, 3], "mixed": [1, "x"],
    "names": ["a", "b"], "inner": {"n": 7, "s": 1}})");
  return json;
}
const ConfigView view(sample(), "dir/config.json");

template <class T> std::string why(const Result<T>& r) { return r ? "no error" : r.error().str(); }

TEST(ConfigView, ErrorsNameFileFieldExpectedAndActual) {
  EXPECT_EQ(why(view.integer("s", 1, 1048576)),
            "dir/config.json: s: expected an integer from 1 to 1048576, got \"64\"");
  EXPECT_EQ(why(view.integer("no", 1, 9)),
            "dir/config.json: no: expected an integer from 1 to 9, but the field is absent");
  EXPECT_EQ(why(view.number("n", {.min = 100, .above_min = true})),
            "dir/config.json: n: expected a number above 100, got 64");
  EXPECT_EQ(why(view.object("inner").value().integer("s", 2, 3)),
            "dir/config.json: inner.s: expected an integer from 2 to 3, got 1");
  EXPECT_EQ(why(view.integers("mixed", 0, 5)), "dir/config.json: mixed[1]: expected an integer from 0 to 5, got \"x\"");
  EXPECT_EQ(why(view.string("inner")), "dir/config.json: inner: expected a string, got an object");
}

TEST(ConfigView, IntegersStandWhereFloatsDo) { EXPECT_EQ(view.number("n").value(), 64.0); }

TEST(ConfigView, IntegersKeepToTheirRange) {
  EXPECT_EQ(view.integer("n", 64, 64).value(), 64);
  EXPECT_FALSE(view.integer("f", 0, 9));
  EXPECT_FALSE(view.integer("neg", 0, 9));
  EXPECT_FALSE(view.integer("big", 0, 9));
  EXPECT_FALSE(
      view.integer("huge", std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()));
  EXPECT_FALSE(view.integer("b", 0, 9));
}

TEST(ConfigView, InfinitiesAreNumbersOnlyWhereAllowed) {
  EXPECT_FALSE(view.number("inf"));
  EXPECT_EQ(view.number("inf", {.min = 0, .non_finite = true}).value(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(view.number("minus", {.non_finite = true}).value(), -std::numeric_limits<double>::infinity());
  EXPECT_FALSE(view.number("s", {.non_finite = true}));
}

TEST(ConfigView, NullIsAbsentAndWrongTypesAreErrorsEvenWithADefault) {
  EXPECT_FALSE(view.has("none"));
  EXPECT_EQ(view.integer_or("none", 5, 1, 9).value(), 5);
  EXPECT_EQ(view.string_or("no", "x").value(), "x");
  EXPECT_EQ(view.boolean_or("b", false).value(), true);
  EXPECT_FALSE(view.integer_or("s", 5, 1, 9));
  EXPECT_FALSE(view.number_or("s", 5));
}

TEST(ConfigView, ListsAreTyped) {
  EXPECT_EQ(view.integers("list", 1, 3).value(), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(view.strings("names").value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(view.booleans("names"));
  EXPECT_FALSE(view.integers("n", 0, 9));
}

}  // namespace
}  // namespace halyard
