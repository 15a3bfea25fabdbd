#include "halyard/base/result.h"

#include <gtest/gtest.h>

namespace halyard {
namespace {

TEST(Printable, KeepsTextAndEscapesControlsAndWhatIsNotUtf8) {
  for (const char* kept : {"", "a b ~", "\u00e9\u20ac\U0001f600", "\u00a0\U0010ffff"}) EXPECT_EQ(printable(kept), kept);
  EXPECT_EQ(printable("a\nb\x7f\x1b[m"), "a\\x0ab\\x7f\\x1b[m");
  EXPECT_EQ(printable(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\xc2\x80"), "\\xc2\\x80");                    // a C1 control
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");                    // no lead byte; cut off
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xe2\x82x"), "\\xe2\\x82x");
  EXPECT_EQ(printable(printable("\xff")), printable("\xff"));
}

TEST(Printable, IsWhatErrorsAreMadeOf) {
  const Error e = fail(Errc::io, "bad \xff\n").value().in("file\r");
  EXPECT_EQ(e.message, "bad \\xff\\x0a");
  EXPECT_EQ(e.contexts.front(), "file\\x0d");
}

}  // namespace
}  // namespace halyard
