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
    return expect(
        KvCache::make(device_, kShapes, {.dtype = DType::f32, .limit = limit, .step = 700, .rotating = rotating}));
  }

  /// A step: reserved, run, and then committed or cancelled.
  Result<void> append(KvCache& c, std::size_t n, bool commit = true) {
    CommandEncoder e = HALYARD_TRY(device_.command_encoder());
    const Placement p = HALYARD_TRY(c.reserve(e, n));
    EXPECT_EQ(p.slots.size(), n);
    EXPECT_LE(c.pages().size(), c.max_pages());
    std::vector<float> values(n * kHeads * kDim);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(c.position() + i / (kHeads * kDim));
    Buffer x = HALYARD_TRY(device_.alloc(DType::f32, {n, kHeads, kDim})),
           slots = HALYARD_TRY(device_.alloc(DType::i32, {n}));
    HALYARD_TRY(x.write(std::span<const float>(values)));
    HALYARD_TRY(slots.write(std::span<const std::int32_t>(p.slots)));
    HALYARD_TRY(ops::kv_append(e, x, c.layers()[0].k, slots));
    HALYARD_TRY(ops::kv_append(e, x, c.layers()[0].v, slots));
    HALYARD_TRY(e.commit_and_wait("append"));
    if (commit) c.commit();
    else c.cancel();
    return {};
  }

  /// The positions held, as a head's keys or values say.
  std::vector<float> held(const KvCache& c, std::size_t head, bool values) const {
    const models::LayerState& l = c.layers()[0];
    const std::vector<float> all = expect((values ? l.v : l.k).read<float>());
    std::vector<float> positions;
    for (std::size_t i = 0; i < c.size(); ++i) {
      const auto slot = static_cast<std::size_t>(c.slot(i));
      positions.push_back(all[((slot / 64 * kHeads + head) * 64 + slot % 64) * kDim]);
    }
    return positions;
  }

  static constexpr models::LayerSpec kShapes[] = {{kHeads, kDim}};
  mutable Device device_ = expect(Device::open("cpu", {.cpu = {.threads = 2}}));
};

TEST_F(KvCacheTest, GrowingKeepsWhatIsHeld) {
  KvCache c = cache(4000, false);
  for (const std::size_t n : {1, 200, 55, 1, 700, 1}) expect(append(c, n));
  std::vector<float> expected(958);
  std::iota(expected.begin(), expected.end(), 0.0F);
  EXPECT_EQ(c.position(), 958U);
  EXPECT_EQ(c.bytes(), 15U * 64 * 2 * kHeads * kDim * 4);
  for (const std::size_t head : {0, 1}) {
    EXPECT_EQ(held(c, head, false), expected);
    EXPECT_EQ(held(c, head, true), expected);
  }
}

TEST_F(KvCacheTest, TakesTheMemoryThereIsAndSaysWhatForItRanOut) {
  device_ = expect(Device::open("cpu", {.cpu = {.threads = 2}, .memory_budget = 200'000}));
  KvCache c = expect(KvCache::make(device_, kShapes, {.dtype = DType::f32, .limit = 4000, .step = 100}));
  expect(append(c, 100));
  Result<void> full;
  while (full) full = append(c, 100);
  EXPECT_EQ(full.error().code, Errc::out_of_memory);
  EXPECT_NE(full.error().str().find("a KV cache of "), std::string::npos) << full.error().str();
  std::vector<float> expected(c.size());
  std::iota(expected.begin(), expected.end(), 0.0F);
  EXPECT_EQ(held(c, 1, true), expected);
  const auto none = KvCache::make(device_, kShapes, {.dtype = DType::f32, .limit = 40000, .step = 4000});
  ASSERT_FALSE(none);
  for (const char* part : {"a KV cache of 4032 positions", "200000"})
    EXPECT_NE(none.error().str().find(part), std::string::npos) << none.error().str();
}

TEST_F(KvCacheTest, ACancelledStepLeavesWhatIsHeld) {
  for (const bool rotating : {false, true}) {
    KvCache c = cache(rotating ? 64 : 4000, rotating);
    std::size_t n = 0;
    for (const std::size_t step : {5, 60, 1, 200, 64, 3}) {
      const std::vector<float> before = held(c, 1, false);
      const std::size_t bytes = c.bytes();
      expect(append(c, step, false));
      EXPECT_FALSE(c.is_lost());
      EXPECT_EQ(held(c, 1, false), before);
      EXPECT_EQ(c.position(), n);
      EXPECT_EQ(c.bytes(), bytes);
      expect(append(c, step));
      EXPECT_EQ(c.position(), n += step);
    }
  }
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
  std::vector<float> all = held(c, 1, true);
  EXPECT_EQ(all, expected(468 - 64, 468));
  for (std::size_t i = 0; i < 7; ++i) expect(append(c, 1));
  all = held(c, 1, true);
  EXPECT_EQ(all[4], 468) << "in the oldest one's place";
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, expected(475 - 64, 475));
}

TEST_F(KvCacheTest, ACancelledStepInTheOldestOnesPlaceIsNoticed) {
  KvCache c = cache(64, true);
  expect(append(c, 60));
  expect(append(c, 4));
  expect(append(c, 1, false));
  EXPECT_TRUE(c.is_lost()) << "it was written over";
  c.reset();
  EXPECT_FALSE(c.is_lost());
  for (std::size_t i = 0; i < 70; ++i) expect(append(c, 1));
  const std::vector<float> before = held(c, 0, true);
  c.roll_back(70);
  EXPECT_FALSE(c.is_lost()) << "nothing was reserved";
  EXPECT_EQ(held(c, 0, true), before);
  expect(append(c, 3));
  c.roll_back(70);
  EXPECT_TRUE(c.is_lost()) << "positions are gone";
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
