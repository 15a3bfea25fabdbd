#include "halyard/hal/pool.h"

#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

/// Out of the pool and back.
void use(BufferPool& pool, std::size_t bytes, std::size_t times = 1) {
  for (; times > 0; --times) ok(pool.release(value(pool.acquire(DType::u8, {bytes}))));
}

TEST(Pool, LosesAtMostAQuarterToRounding) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  std::set<std::size_t> sizes;
  for (std::size_t bytes = 0; bytes <= 100'000; bytes += 1 + bytes / 97) {
    BufferPool pool(d);
    const Buffer b = value(pool.acquire(DType::u8, {bytes}));
    EXPECT_EQ(b.size_bytes(), bytes);
    EXPECT_GE(pool.bytes_held(), std::max<std::size_t>(bytes, 256));
    EXPECT_LE(4 * pool.bytes_held(), 5 * std::max<std::size_t>(bytes, 256));
    sizes.insert(pool.bytes_held());
  }
  EXPECT_EQ(sizes.size(), 36U);  // 256, and four to each doubling up to 7 · 2^14 (9 doublings, less one size)
}

TEST(Pool, CountsWhatItDoes) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  BufferPool pool(d);
  use(pool, 1000, 3);
  {
    const Buffer a = value(pool.acquire(DType::u8, {1000})), b = value(pool.acquire(DType::u8, {1000}));
    ok(pool.release(a));
    ok(pool.release(b));
  }
  const PoolStats s = pool.stats();
  EXPECT_EQ(s.acquired, 5U);
  EXPECT_EQ(s.reused, 3U);
  EXPECT_EQ(s.bytes_out, 0U);
  EXPECT_EQ(s.peak_out, 2048U);
  EXPECT_EQ(s.bytes_held, 2048U);
  EXPECT_EQ(d.stats().bytes_allocated, 2048U);
  pool.trim();
  EXPECT_EQ(pool.stats().freed, 2U);
  EXPECT_EQ(pool.bytes_held(), 0U);
  EXPECT_EQ(d.stats().bytes_allocated, 0U);
}

TEST(Pool, GivesBackWhatItDidNotNeedForAPeriod) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  BufferPool pool(d);
  {
    std::vector<Buffer> many;
    for (int i = 0; i < 8; ++i) many.push_back(value(pool.acquire(DType::u8, {1024})));
    for (const Buffer& b : many) ok(pool.release(b));
  }
  use(pool, 5000);
  EXPECT_EQ(pool.bytes_held(), 8 * 1024U + 5120);
  use(pool, 1024, BufferPool::period - 9);
  EXPECT_EQ(pool.bytes_held(), 8 * 1024U + 5120);  // all were needed in this period
  for (std::uint64_t i = 0; i + 2 < BufferPool::period; i += 2) {
    const Buffer a = value(pool.acquire(DType::u8, {1024})), b = value(pool.acquire(DType::u8, {1024}));
    ok(pool.release(a));
    ok(pool.release(b));
  }
  EXPECT_EQ(pool.bytes_held(), 8 * 1024U + 5120);
  use(pool, 1024, 2);
  EXPECT_EQ(pool.bytes_held(), 2 * 1024U);  // as many as were out at a time
  EXPECT_EQ(pool.stats().freed, 7U);
}

TEST(Pool, FreesWhatIsIdleBeforeItFailsForLackOfMemory) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}, .memory_budget = 10'000}));
  BufferPool pool(d);
  use(pool, 4096);
  const Buffer large = value(pool.acquire(DType::u8, {8192}));
  EXPECT_EQ(pool.bytes_held(), 8192U);
  const auto more = pool.acquire(DType::u8, {2048});
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::out_of_memory);
  for (const char* part : {"2048", "8192", "10000", "handed out"})
    EXPECT_NE(more.error().str().find(part), std::string::npos) << more.error().str();
  EXPECT_EQ(pool.bytes_held(), 8192U);
  use(pool, 1024);  // goes on
}

TEST(Pool, DoesNotFreeMemoryOfWorkInFlight) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  BufferPool pool(d);
  auto e = value(d.command_encoder());
  {
    const Buffer b = value(pool.acquire(DType::u32, {64}));
    ok(run(e, sleeping_kernel, {b}, 1, 20));
    ok(pool.release(b));
  }
  const CommandBuffer c = value(e.commit());
  pool.trim();
  EXPECT_EQ(pool.bytes_held(), 256U);
  ok(d.wait_idle());
  pool.trim();
  EXPECT_EQ(pool.bytes_held(), 0U);
}

TEST(Pool, GivesOutPoisonOnAValidatingDevice) {
  Device d = value(Device::open("cpu", {.validate = true}));
  BufferPool pool(d);
  for (int i = 0; i < 2; ++i) {
    Buffer b = value(pool.acquire(DType::i32, {100}));
    EXPECT_EQ(value(b.read<std::int32_t>()), std::vector<std::int32_t>(100, -1));
    ok(b.write(std::span<const std::int32_t>(std::vector<std::int32_t>(100, 7))));
    ok(pool.release(b));
  }
}

// Each thread marks its buffers, lets kernels work on them, and finds its marks again.
TEST(Pool, ManyThreadsGetBuffersOfTheirOwn) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  BufferPool pool(d);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(seed + t);
      auto s = value(d.encoder_session());
      for (std::uint32_t i = 0; i < 300; ++i) {
        const std::size_t n = 64 + random() % 200;
        Buffer b = value(pool.acquire(DType::u32, {n}));
        const std::uint32_t mark = t * 1000 + i;
        ok(b.write(std::span<const std::uint32_t>(std::vector<std::uint32_t>(n, mark))));
        ok(run(s.encoder(), scale_in_place_kernel, {b}, static_cast<std::uint32_t>(n), t));
        ok(s.commit_stage());
        ok(s.reset_for_next_stage());
        if (i % 3) wrong += value(b.read<std::uint32_t>()) != std::vector<std::uint32_t>(n, mark * 3 + t);
        ok(pool.release(b));
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool.bytes_out(), 0U);
  EXPECT_GT(pool.stats().reused, 900U);
}

}  // namespace
}  // namespace halyard
