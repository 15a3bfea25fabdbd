#include "halyard/base/quote.h"

#include <string>

#include <gtest/gtest.h>

#include "halyard/base/result.h"

namespace halyard {
namespace {

TEST(Quote, LeavesPlainTextAlone) {
  EXPECT_EQ(in_quotes("model.norm.weight"), "\"model.norm.weight\"");
  for (const char* kept : {"", "a b ~", R"(a "b" \s+ é 漢 🦜)", "\u00e9\u20ac\U0001f600", "\u00a0\U0010ffff"})
    EXPECT_EQ(printable(kept), kept);
}

TEST(Quote, EscapesControlsAndDirectionMarks) {
  EXPECT_EQ(printable("a\nb\x1b[2J\x7f"), R"(a\x0ab\x1b[2J\x7f)");
  EXPECT_EQ(printable(std::string("\0", 1)), R"(\x00)");
  EXPECT_EQ(printable("\xc2\x85 \xe2\x80\xae \xe2\x80\xa8"), R"(\u0085 \u202e \u2028)");
}

TEST(Quote, EscapesEachByteThatIsNotUtf8) {
  EXPECT_EQ(printable("a\xff z"), R"(a\xff z)");
  EXPECT_EQ(printable("\xff\xc3"), R"(\xff\xc3)");  // no lead byte; cut off
  EXPECT_EQ(printable("\xe2\x82"), R"(\xe2\x82)");
  EXPECT_EQ(printable("\xe2\x82x"), R"(\xe2\x82x)");
  EXPECT_EQ(printable("\xc0\xaf"), R"(\xc0\xaf)");                  // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), R"(\xed\xa0\x80)");          // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), R"(\xf4\x90\x80\x80)");  // beyond U+10FFFF
  EXPECT_EQ(printable(printable("\xff")), printable("\xff"));
}

TEST(Quote, CutsAtACharacter) {
  EXPECT_EQ(in_quotes(std::string(300, 'a')), '"' + std::string(200, 'a') + "…\"");
  EXPECT_EQ(printable("ab漢字", 4), "ab…");
  EXPECT_EQ(printable("ab漢字", 5), "ab漢…");
  EXPECT_EQ(printable("ab漢", 5), "ab漢");
}

TEST(Quote, IsWhatErrorsAreMadeOf) {
  const Error e = fail(Errc::io, "bad \xff\n").value().in("file\r");
  EXPECT_EQ(e.message, R"(bad \xff\x0a)");
  EXPECT_EQ(e.contexts.front(), R"(file\x0d)");
  EXPECT_EQ((Error{Errc::io, "bad \xff\n", {"reading \x1b[1m"}}.str()), R"(reading \x1b[1m: bad \xff\x0a)");
}

}  // namespace
}  // namespace halyard
