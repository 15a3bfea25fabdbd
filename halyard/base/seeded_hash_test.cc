#include "halyard/base/seeded_hash.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace halyard {
namespace {

// The fullest of 2^12 buckets that 2^14 keys fall into: about 14 where they fall by chance.
template <class Key> std::size_t fullest(Key key) {
  const SeededHash hash;
  std::vector<std::size_t> buckets(1 << 12);
  for (std::uint64_t i = 0; i < 1 << 14; ++i) ++buckets[hash(key(i)) & (buckets.size() - 1)];
  return *std::max_element(buckets.begin(), buckets.end());
}

TEST(SeededHash, SpreadsKeysThatFollowARule) {
  for (const std::uint64_t stride :
       {std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{1} << 32, std::uint64_t{1} << 50})
    EXPECT_LT(fullest([=](std::uint64_t i) { return i * stride; }), 200U) << stride;
  for (const std::size_t length : {0, 3, 7, 20})
    EXPECT_LT(fullest([=](std::uint64_t i) { return std::string(length, 'x') + std::to_string(i); }), 40U) << length;
}

TEST(SeededHash, DependsOnEveryByteAndOnTheSeed) {
  const SeededHash hash, other;
  const std::string text = "what a stranger chose";
  EXPECT_EQ(hash(std::string_view(text)), hash(std::string_view(std::string(text))));
  EXPECT_NE(hash(std::string_view(text)), other(std::string_view(text)));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    ++changed[i];
    EXPECT_NE(hash(std::string_view(changed)), hash(std::string_view(text))) << i;
    EXPECT_NE(hash(std::string_view(text).substr(0, i)), hash(std::string_view(text))) << i;
  }
  EXPECT_NE(hash(std::string_view("a")), hash(std::string_view("a\0", 2)));
}

}  // namespace
}  // namespace halyard
