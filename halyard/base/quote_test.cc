#include "halyard/base/quote.h"

#include <string>

#include <gtest/gtest.h>

#include "halyard/base/result.h"

namespace halyard {
namespace {

TEST(Quote, LeavesPlainTextAlone) {
  EXPECT_EQ(in_quotes("model.norm.weight"), "\"model.norm.weight\"");
  EXPECT_EQ(escaped(R"(a "b" \s+ é 漢 🦜)"), R"(a "b" \s+ é 漢 🦜)");
}

TEST(Quote, EscapesControlsAndDirectionMarks) {
  EXPECT_EQ(escaped("a\nb\x1b[2J\x7f"), R"(a\x0ab\x1b[2J\x7f)");
  EXPECT_EQ(escaped(std::string_view("\0", 1)), R"(\x00)");
  EXPECT_EQ(escaped("\xc2\x85 \xe2\x80\xae \xe2\x80\xa8"), R"(\u0085 \u202e \u2028)");
}

TEST(Quote, EscapesEachByteThatIsNotUtf8) {
  EXPECT_EQ(escaped("a\xff z"), R"(a\xff z)");
  EXPECT_EQ(escaped("\xc3"), R"(\xc3)");
  EXPECT_EQ(escaped("\xe2\x82"), R"(\xe2\x82)");
  EXPECT_EQ(escaped("\xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80"), R"(\xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80)");
}

TEST(Quote, CutsAtACharacter) {
  EXPECT_EQ(in_quotes(std::string(300, 'a')), '"' + std::string(200, 'a') + "…\"");
  EXPECT_EQ(escaped("ab漢字", 4), "ab…");
  EXPECT_EQ(escaped("ab漢字", 5), "ab漢…");
  EXPECT_EQ(escaped("ab漢", 5), "ab漢");
}

TEST(Quote, AnErrorIsOneLineOfUtf8) {
  const Error error{Errc::io, "bad \xff\n", {"reading \x1b[1m"}};
  EXPECT_EQ(error.str(), R"(reading \x1b[1m: bad \xff\x0a)");
}

}  // namespace
}  // namespace halyard
