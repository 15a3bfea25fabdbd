#include "halyard/base/utf8.h"

#include <string>

#include <gtest/gtest.h>

namespace halyard {
namespace {

TEST(Utf8, TakesEveryCharacterAndNothingElse) {
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    const int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    text.assign(1, static_cast<char>(more ? (0xff00 >> (more + 1) & 0xff) | c >> 6 * more : c));
    for (int i = more; i-- > 0;) text += static_cast<char>(0x80 | (c >> 6 * i & 0x3f));
    const Utf8Step step = utf8_step(text, 0);
    ASSERT_EQ(step.kind, Utf8Step::whole) << static_cast<unsigned>(c);
    ASSERT_EQ(step.length, text.size());
  }
  // As many texts of each length as there are characters of it, so none that is no character is taken for one.
  std::size_t whole[4] = {};
  for (unsigned bytes = 0; bytes < 1U << 24; ++bytes) {
    const char three[] = {static_cast<char>(bytes >> 16), static_cast<char>(bytes >> 8), static_cast<char>(bytes)};
    const Utf8Step step = utf8_step({three, 3}, 0);
    if (step.kind == Utf8Step::whole) ++whole[step.length];
  }
  EXPECT_EQ(whole[1], std::size_t{0x80} << 16);
  EXPECT_EQ(whole[2], std::size_t{0x780} << 8);
  EXPECT_EQ(whole[3], std::size_t{0xf800 - 0x800});
  for (const char* no : {"\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x90\x80z"})
    EXPECT_NE(utf8_step(no, 0).kind, Utf8Step::whole);
  EXPECT_EQ(find_invalid_utf8("aé\xff"), 3U);
  EXPECT_EQ(find_invalid_utf8("aé漢😀"), std::string_view::npos);
}

}  // namespace
}  // namespace halyard
