#include "halyard/text/jinja/search.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "halyard/testing/cpu_time.h"
#include "halyard/testing/patience.h"

namespace halyard::jinja {
namespace {

TEST(Search, FindsWhatStringViewFinds) {
  std::mt19937 random(20240611);
  for (int round = 0; round < 200'000; ++round) {
    const auto letters = [&](std::size_t most) {
      std::string s(random() % most, 'a');
      for (char& c : s) c = static_cast<char>('a' + random() % 2);
      return s;
    };
    const std::string s = letters(40);
    std::string needle = letters(12);
    if (round % 3 == 0) needle += needle.substr(0, random() % 3) + needle;
    const std::size_t at = random() % 45;
    ASSERT_EQ(find_first(s, needle, at), s.find(needle, at)) << s << ' ' << needle << ' ' << at;
    ASSERT_EQ(find_last(s, needle), s.rfind(needle)) << s << ' ' << needle;
  }
}

// What takes the plain search a comparison of each byte of one with each of the other: minutes.
TEST(Search, TakesTimeThatGrowsWithTheSumOfTheSizes) {
  const std::size_t n = 4'000'000, m = 1'000'000;
  const std::string a(n, 'a'), half(m, 'a');
  std::string middle = half;
  middle[m / 2] = 'b';
  std::string pairs;
  while (pairs.size() < n) pairs += "ab";
  const std::string needles[] = {half + 'b', 'b' + half, middle, pairs.substr(0, m) + "aa", "aa" + pairs.substr(0, m)};
  const double start = testing::thread_ms();
  for (const std::string& s : {a, pairs})
    for (const std::string& needle : needles) {
      EXPECT_EQ(find_first(s, needle), s.npos);
      EXPECT_EQ(find_last(s, needle), s.npos);
    }
  EXPECT_LT(testing::thread_ms() - start, 5000 * testing::patience);
}

}  // namespace
}  // namespace halyard::jinja
