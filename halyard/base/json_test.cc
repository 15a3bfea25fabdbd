#include "halyard/base/json.h"

#include <string>

#include <gtest/gtest.h>

namespace halyard {
namespace {

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "[1,]", "{\"a\":1}x", "NaN", "{\"a\":\"\xff\"}"}) EXPECT_FALSE(parse_json(text)) << text;
}

TEST(Json, RefusesDepthAndRepeatedKeys) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_NE(parse_json(deep).error().message.find("nested deeper"), std::string::npos);
  EXPECT_NE(parse_json(R"({"a":{"b":1,"b":2}})").error().message.find("\"b\""), std::string::npos);
  EXPECT_TRUE(parse_json(R"({"a":{"b":1},"c":{"b":2}})"));
  EXPECT_TRUE(parse_json(R"({"b":1,"b":2})", {.unique_keys = false}));
}

TEST(Json, KeepsTheOrderWhereAsked) { EXPECT_EQ(parse_ordered_json(R"({"z":1,"a":2})")->dump(), R"({"z":1,"a":2})"); }

}  // namespace
}  // namespace halyard
