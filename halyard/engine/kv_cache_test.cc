#include "halyard/engine/kv_cache.h"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "halyard/ops/attention/attention.h"
#include "halyard/testing/models.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;

constexpr std::size_t kHeads = 2, kDim = 4;

/// A cache of one layer, and positions whose keys and values all hold the position's number.
class KvCacheTest : public ::testing::Test {
 protected:
  KvCache cache(std::size_t limit, bool rotating) const {
    return {device_, {{kHeads, kDim}}, {.dtype = DType::f32, .limit = limit, .rotating = rotating}};
  }

  Result<void> append(KvCache& c, std::size_t n) {
    CommandEncoder e = HALYARD_TRY(device_.command_encoder());
    HALYARD_TRY(c.reserve(e, n));
    std::vector<float> values(n * kHeads * kDim);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(c.position() + i / (kHeads * kDim));
    Buffer x = HALYARD_TRY(device_.alloc(DType::f32, {n, kHeads, kDim}));
    HALYARD_TRY(x.write(std::span<const float>(values)));
    HALYARD_TRY(ops::kv_append(e, x, c.layers()[0].k, c.size()));
    HALYARD_TRY(ops::kv_append(e, x, c.layers()[0].v, c.size()));
    c.advance(n);
    return e.commit_and_wait("append");
  }

  /// The positions held, as a head's keys or values say.
  std::vector<float> held(const KvCache& c, std::size_t head, bool values) const {
    const models::LayerKv& l = c.layers()[0];
    const std::vector<float> all = expect((values ? l.v : l.k).read<float>());
    std::vector<float> positions;
    for (std::size_t i = 0; i < c.size(); ++i) positions.push_back(all[(head * c.capacity() + i) * kDim]);
    return positions;
  }

  mutable Device device_ = expect(Device::open("cpu", {.threads = 2}));
};

TEST_F(KvCacheTest, GrowingKeepsWhatIsHeld) {
  KvCache c = cache(4000, false);
  for (const std::size_t n : {1, 200, 55, 1, 700, 1}) expect(append(c, n));
  std::vector<float> expected(958);
  std::iota(expected.begin(), expected.end(), 0.0F);
  EXPECT_EQ(c.position(), 958U);
  EXPECT_LE(c.capacity(), 2048U);
  for (const std::size_t head : {0, 1}) {
    EXPECT_EQ(held(c, head, false), expected);
    EXPECT_EQ(held(c, head, true), expected);
  }
}

TEST_F(KvCacheTest, SaysWhatForMemoryRanOutAndKeepsWhatItHolds) {
  device_ = expect(Device::open("cpu", {.threads = 2, .memory_budget = 40'000}));
  KvCache c = cache(4000, false);
  expect(append(c, 250));
  const Result<void> full = append(c, 10);  // the new memory, while the old one is in use, is too much
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::out_of_memory);
  for (const char* part : {"a KV cache of 512 positions", "40000"})
    EXPECT_NE(full.error().str().find(part), std::string::npos) << full.error().str();
  EXPECT_EQ(c.capacity(), 256U);
  expect(append(c, 6));
  std::vector<float> expected(256);
  std::iota(expected.begin(), expected.end(), 0.0F);
  EXPECT_EQ(held(c, 1, true), expected);
}

TEST_F(KvCacheTest, RefusesToPassItsLimitNamingBoth) {
  KvCache c = cache(300, false);
  expect(append(c, 300));
  const Result<void> full = append(c, 1);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::limit_exceeded);
  EXPECT_NE(full.error().message.find("301"), std::string::npos) << full.error().str();
  EXPECT_NE(full.error().message.find("300"), std::string::npos) << full.error().str();
  EXPECT_EQ(c.size(), 300U);
}

TEST_F(KvCacheTest, RotatingKeepsTheFirstFourAndTheLast) {
  for (const std::size_t limit : {std::size_t{64}, std::size_t{5}, std::size_t{6}, std::size_t{3}, std::size_t{1}}) {
    const std::size_t kept = std::min<std::size_t>(4, limit - 1);
    KvCache c = cache(limit, true);
    for (std::size_t i = 0; i < 200; ++i) {
      expect(append(c, 1));
      std::vector<float> positions = held(c, i % 2, i % 3 == 0);
      EXPECT_EQ(positions.back(), static_cast<float>(i)) << "the newest is the last";
      std::sort(positions.begin(), positions.end());  // one that goes leaves its place to a newer one
      ASSERT_EQ(c.position(), i + 1);
      ASSERT_EQ(c.size(), std::min(limit, i + 1));
      for (std::size_t k = 0; k < positions.size(); ++k) {
        const std::size_t expected = k < kept ? k : i + 1 - (positions.size() - k);
        ASSERT_EQ(positions[k], static_cast<float>(expected)) << "entry " << k << " after " << i << " of " << limit;
      }
    }
  }
}

// As mlx-lm's RotatingKVCache: the kept ones and the last of what was held, limit - 1 in all, then the new ones.
TEST_F(KvCacheTest, RotatingTakesManyPositionsAtOnceInTheOrderOfTheText) {
  const auto expected = [](std::size_t drop, std::size_t n) {
    std::vector<float> positions{0, 1, 2, 3};
    for (std::size_t i = 4 + drop; i < n; ++i) positions.push_back(static_cast<float>(i));
    return positions;
  };
  KvCache c = cache(64, true);
  expect(append(c, 50));
  expect(append(c, 40));
  EXPECT_EQ(held(c, 1, true), expected(0, 90));
  for (std::size_t i = 0; i < 75; ++i) expect(append(c, 1));  // goes round
  EXPECT_EQ(c.size(), 64U);
  expect(append(c, 300));
  EXPECT_EQ(held(c, 0, false), expected(165 - 63, 465));
  expect(append(c, 2));
  EXPECT_EQ(held(c, 1, false), expected(465 - 63, 467));
  expect(append(c, 1));
  EXPECT_EQ(held(c, 1, true), expected(468 - 64, 468));
}

TEST_F(KvCacheTest, TruncateForgetsTheEnd) {
  KvCache c = cache(64, true);
  expect(append(c, 20));
  EXPECT_TRUE(c.truncate(7));
  EXPECT_EQ(c.size(), 7U);
  EXPECT_FALSE(c.truncate(8));
  expect(append(c, 60));
  expect(append(c, 1));
  EXPECT_FALSE(c.truncate(30)) << "positions were dropped";
}

}  // namespace
}  // namespace halyard::engine
