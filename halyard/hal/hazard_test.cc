#include "halyard/hal/hazard.h"

#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using testing::value;

BufferRange range(int allocation, std::uint64_t begin, std::uint64_t end) {
  return {reinterpret_cast<const void*>(static_cast<std::uintptr_t>(64 * (allocation + 1))), begin, end,
          MemRangeRole::src};
}

TEST(IntervalSet, AgreesWithASetOfBytes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    IntervalSet set;
    std::vector<bool> bytes(4000);
    const unsigned longest = 1 + static_cast<unsigned>(random() % 60);
    for (int i = 0; i < 600; ++i) {
      const auto b = random() % 3900, e = b + random() % longest;
      bool expected = false;
      for (auto j = b; j < e; ++j) expected |= bytes[j];
      ASSERT_EQ(set.overlaps(b, e), expected) << b << ".." << e;
      if (random() % 2) {
        set.insert(b, e);
        for (auto j = b; j < e; ++j) bytes[j] = true;
      }
    }
  }
}

TEST(MemRanges, ReadsRunTogetherAndWritesDoNot) {
  MemRanges m;
  const BufferRange a[] = {range(0, 0, 64)}, b[] = {range(1, 0, 64)};
  EXPECT_TRUE(m.check_dispatch(a, b));
  m.add_dispatch(a, b);
  EXPECT_EQ(m.size(), 2U);
  EXPECT_TRUE(m.check_dispatch(a, {}));   // read after read
  EXPECT_FALSE(m.check_dispatch(b, {}));  // read after write
  EXPECT_FALSE(m.check_dispatch({}, a));  // write after read
  EXPECT_FALSE(m.check_dispatch({}, b));  // write after write
  EXPECT_EQ(m.barriers_forced(), 3U);
  m.reset();
  EXPECT_TRUE(m.empty());
  EXPECT_TRUE(m.check_dispatch({}, b));
  EXPECT_EQ(m.barriers_forced(), 3U);
}

TEST(MemRanges, NeighbouringRangesDoNotConflict) {
  MemRanges m;
  const BufferRange low[] = {range(0, 0, 64)}, high[] = {range(0, 64, 128)}, both[] = {range(0, 63, 65)},
                    none[] = {range(0, 32, 32)};
  m.add_dispatch({}, low);
  EXPECT_TRUE(m.check_dispatch({}, high));
  EXPECT_FALSE(m.check_dispatch(both, {}));
  EXPECT_TRUE(m.check_dispatch({}, none));
}

TEST(MemRanges, AgreesWithAPairwiseCheckOverManyAllocations) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  MemRanges m, placed;
  std::vector<std::pair<BufferRange, bool>> live;  // and whether it is written
  for (int i = 0; i < 20000; ++i) {
    std::vector<BufferRange> reads, writes;
    for (auto n = random() % 3; n > 0; --n) reads.push_back(range(static_cast<int>(random() % 700), 0, 0));
    for (auto n = 1 + random() % 2; n > 0; --n) writes.push_back(range(static_cast<int>(random() % 700), 0, 0));
    for (auto* list : {&reads, &writes})
      for (auto& r : *list) r.begin = random() % 1000, r.end = r.begin + 1 + random() % 100;
    const auto hits = [&](const BufferRange& r, bool w) {
      for (const auto& [o, ow] : live)
        if ((w || ow) && o.allocation == r.allocation && o.begin < r.end && r.begin < o.end) return true;
      return false;
    };
    bool free = true;
    for (const auto& r : reads) free &= !hits(r, false);
    for (const auto& w : writes) free &= !hits(w, true);
    ASSERT_EQ(m.check_dispatch(reads, writes), free);
    for (auto& w : writes) w.role = MemRangeRole::dst;
    std::vector<BufferRange> all = reads;
    all.insert(all.end(), writes.begin(), writes.end());
    ASSERT_EQ(placed.place_dispatch(all), free);
    if (!free) m.reset(), live.clear();
    m.add_dispatch(reads, writes);
    for (const auto& r : reads) live.emplace_back(r, false);
    for (const auto& w : writes) live.emplace_back(w, true);
    ASSERT_EQ(m.size(), live.size());
    ASSERT_EQ(placed.size(), live.size());
  }
  EXPECT_EQ(m.barriers_forced(), placed.barriers_forced());
}

TEST(BufferRange, IsTheViewsExactBytes) {
  Device d = value(Device::open("cpu"));
  const Buffer b = value(d.alloc(DType::f32, {16}));
  const Buffer v = value(value(b.view(16, DType::f32, {8})).view(4, DType::u8, {3}));
  const auto r = BufferRange::from_buffer(v, MemRangeRole::dst);
  EXPECT_EQ(r.begin, 20U);
  EXPECT_EQ(r.end, 23U);
  EXPECT_EQ(r.allocation, BufferRange::from_buffer(b, MemRangeRole::src).allocation);
}

}  // namespace
}  // namespace halyard
