// Tiles whose thread has lost its core, and which other threads do in its place.
#include <atomic>
#include <chrono>
#include <future>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "halyard/hal/cpu/attempt.h"
#include "halyard/hal/cpu/placement.h"
#include "halyard/testing/kernels.h"
#include "halyard/testing/open_device.h"

namespace halyard {
namespace {

using namespace testing;
using namespace std::chrono_literals;
using cpu::Attempt;
using cpu::Tiles;

constexpr std::uint32_t tiles = 64;

// Here threads are taken over under TSan too, and whatever HALYARD_VALIDATE says. What a thread reads may be written
// meanwhile: kernels here read and write atomically.
Device open(const DeviceOptions& options) { return open_device(value(open_cpu_driver(options, true)), options); }
std::atomic_ref<std::int32_t> item(const CpuTile& t, std::size_t binding) {
  return std::atomic_ref(t.as<std::int32_t>(binding)[t.x0]);
}
constexpr auto relaxed = std::memory_order_relaxed;

template <class F> bool soon(const F& holds) {
  for (int i = 0; i < 20'000 && !holds(); ++i) std::this_thread::sleep_for(1ms);
  return holds();
}

void expect_kernel_failure(const Result<void>& r, const char* message) {
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::kernel_failed);
  EXPECT_NE(r.error().str().find(message), std::string::npos) << r.error().str();
}

// One tile's first thread stays away, asleep, until it is told to come back.
struct Gate {
  std::atomic<std::uint32_t> closed_at{tiles};  // none
  std::atomic<bool> open{false};
  std::atomic<int> away{0}, refused{0};

  void pass(std::uint32_t tile) {
    std::uint32_t here = tile;
    if (!closed_at.compare_exchange_strong(here, tiles)) return;
    ++away;
    while (!open) std::this_thread::sleep_for(1ms);
  }
  bool may_write(const CpuTile& t) {
    const bool may = t.may_write();
    if (!may) ++refused;
    return may;
  }
} gate;

// x[i] += y[i], slowly in one tile.
void gated_add(const CpuTile& t) {
  gate.pass(static_cast<std::uint32_t>(t.x0));
  const std::int32_t sum = item(t, 1).load(relaxed) + item(t, 0).load(relaxed);
  if (gate.may_write(t)) item(t, 0).store(sum, relaxed);
}
const KernelDef gated_add_kernel = {"test_gated_add", "xr", {&cpu_form<gated_add, Grid{1, 1, 1}, true>}};

void gated_failure(const CpuTile& t) {
  const bool first = gate.closed_at == t.x0;
  gate.pass(static_cast<std::uint32_t>(t.x0));
  if (first) t.fail("late");
  if (gate.may_write(t)) item(t, 0).store(1, relaxed);
}
const KernelDef gated_failure_kernel = {"test_gated_failure", "x", {&cpu_form<gated_failure, Grid{1, 1, 1}, true>}};

// Three threads, none of them the test's own.
class Takeover : public ::testing::Test {
 protected:
  void SetUp() override {
    gate.open = false;
    gate.closed_at = tiles;
    gate.away = gate.refused = 0;
    ok(y.write(std::span<const std::int32_t>(std::vector<std::int32_t>(tiles, 1))));
  }
  void TearDown() override { gate.open = true; }

  CommandBuffer commit(const KernelDef& k, std::initializer_list<Buffer> buffers) {
    auto e = value(device.command_encoder());
    ok(run(e, k, buffers, tiles));
    return value(e.commit());
  }
  void come_back() {
    gate.open = true;
    EXPECT_TRUE(soon([] { return gate.refused == gate.away; }));
  }

  Device device = open({.cpu = {.threads = 4}});
  Buffer x = value(device.alloc(DType::i32, {tiles})), y = value(device.alloc(DType::i32, {tiles}));
};

TEST_F(Takeover, AThreadThatIsAwayHoldsUpNobodyAndWritesNothingLater) {
  for (const std::uint32_t at : {0U, 5U, 15U, 16U, 63U}) {
    gate.open = false;
    gate.closed_at = at;
    ok(x.write(std::span<const std::int32_t>(std::vector<std::int32_t>(tiles, 7))));
    const CommandBuffer c = commit(gated_add_kernel, {x, y});
    ASSERT_TRUE(soon([&] { return c.status() == CommandBufferStatus::completed; })) << at;
    EXPECT_EQ(value(x.read<std::int32_t>()), std::vector<std::int32_t>(tiles, 8)) << at;
    ok(x.write(std::span<const std::int32_t>(std::vector<std::int32_t>(tiles, -1))));
    come_back();
    EXPECT_EQ(value(x.read<std::int32_t>()), std::vector<std::int32_t>(tiles, -1)) << at;
  }
  EXPECT_EQ(gate.away, 5);
}

TEST_F(Takeover, MemoryIsFreedWhenTheLastThreadHasLeftIt) {
  gate.closed_at = 5;
  const CommandBuffer c = commit(gated_add_kernel, {x, y});
  ASSERT_TRUE(soon([&] { return c.status() == CommandBufferStatus::completed; }));
  x = y = Buffer();
  auto in_use = std::async(std::launch::async, [&] { return device.stats().bytes_allocated; });
  EXPECT_EQ(in_use.wait_for(20ms), std::future_status::timeout);  // counts memory when it is free
  come_back();
  EXPECT_EQ(in_use.get(), 0U);
}

TEST_F(Takeover, LaterWorkRunsWithoutIt) {
  gate.closed_at = 5;
  for (int i = 0; i < 50; ++i) {
    const CommandBuffer c = commit(gated_add_kernel, {x, y});
    ASSERT_TRUE(soon([&] { return c.status() == CommandBufferStatus::completed; })) << i;
  }
  EXPECT_EQ(value(x.read<std::int32_t>()), std::vector<std::int32_t>(tiles, 50));
  come_back();
  EXPECT_EQ(gate.away, 1);
}

TEST_F(Takeover, AFailureThatComesTooLateIsNone) {
  gate.closed_at = 5;
  const CommandBuffer c = commit(gated_failure_kernel, {x});
  ASSERT_TRUE(soon([&] { return c.status() == CommandBufferStatus::completed; }));
  come_back();
  ok(device.wait_idle());
}

TEST_F(Takeover, AnEarlyFailureCounts) {
  gate.closed_at = 5;
  gate.open = true;
  auto e = value(device.command_encoder());
  ok(run(e, gated_failure_kernel, {x}, tiles));
  expect_kernel_failure(e.commit_and_wait(), "late");
}

// Threads that are away now and then, in places that differ from run to run.
std::atomic<std::uint32_t> naps{0};
void drowsy_increment(const CpuTile& t) {
  std::minstd_rand random(naps.fetch_add(1) * 7919 + 1);
  if (random() % 40 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 600));
  const std::int32_t more = item(t, 0).load(relaxed) + 1;
  if (!t.may_write()) return;
  if (random() % 80 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 600));
  item(t, 0).store(more, relaxed);
}
const KernelDef drowsy_kernel = {"test_drowsy", "x", {&cpu_form<drowsy_increment, Grid{1, 1, 1}, true>}};

TEST_F(Takeover, EachTileIsWrittenOnceWhoeverSleepsWhere) {
  constexpr int dispatches = 200;
  auto e = value(device.command_encoder());
  for (int i = 0; i < dispatches; ++i) ok(run(e, drowsy_kernel, {x}, tiles));
  ok(e.commit_and_wait());
  EXPECT_EQ(value(x.read<std::int32_t>()), std::vector<std::int32_t>(tiles, dispatches));
}

// Every thread looks absent in every tile: whoever takes over looks absent too.
void absent_increment(const CpuTile& t) {
  const std::int32_t more = item(t, 0).load(relaxed) + 1;
  std::this_thread::sleep_for(2ms);
  if (t.may_write()) item(t, 0).store(more, relaxed);
}
const KernelDef absent_kernel = {"test_absent", "x", {&cpu_form<absent_increment, Grid{1, 1, 1}, true>}};

TEST_F(Takeover, EndsWhereEveryThreadSeemsAway) {
  const CommandBuffer c = commit(absent_kernel, {x});
  ASSERT_TRUE(soon([&] { return c.status() == CommandBufferStatus::completed; }));
  EXPECT_EQ(value(x.read<std::int32_t>()), std::vector<std::int32_t>(tiles, 1));
}

void hasty(const CpuTile& t) { t.as<std::int32_t>(0)[t.x0] = 1; }
const KernelDef hasty_kernel = {"test_hasty", "x", {&cpu_form<hasty, Grid{1, 1, 1}, true>}};

TEST(Restartable, AKernelThatDoesNotAskIsAnError) {
  for (const bool validate : {false, true}) {
    Device d = open({.cpu = {.threads = 2}, .validate = validate});
    const Buffer x = value(d.alloc(DType::i32, {tiles}));
    auto e = value(d.command_encoder());
    ok(run(e, hasty_kernel, {x}, tiles));
    expect_kernel_failure(e.commit_and_wait(), validate ? "without asking may_write()" : "did not ask may_write()");
  }
}

TEST(Attempt, HasOneTaker) {
  // What a tile's thread has done before, the taker sees.
  constexpr std::uint32_t rounds = 20'000;
  std::vector<int> times(rounds + 1, 0);
  std::vector<std::uint32_t> before(rounds + 1, 0);
  Attempt attempt;
  std::atomic<bool> over{false};
  std::uint32_t kept = 0, taken = 0;
  std::thread taker([&] {
    while (!over) {
      const Tiles t = attempt.take_over(7);
      if (!t) continue;
      ++taken;
      ASSERT_EQ(t.end, t.begin + 1);
      ASSERT_EQ(t.ran, before[t.begin]);
      ++times[t.begin];
    }
  });
  for (std::uint32_t i = 0; i < rounds; ++i) {
    before[i] = i % 3;
    attempt.open({i, i + 1, i % 3}, 7);
    if (i % 16 == 0) std::this_thread::yield();
    if (!attempt.close()) continue;
    ++kept;
    ++times[i];
  }
  over = true;
  taker.join();
  EXPECT_EQ(kept + taken, rounds);
  times.pop_back();
  EXPECT_EQ(times, std::vector<int>(rounds, 1));
}

TEST(ThreadClock, StandsStillWhileItsThreadHasNoCore) {
  EXPECT_FALSE(cpu::stands_still(cpu::this_thread_clock()));
  std::atomic<cpu::ThreadClock> clock{};
  std::atomic<bool> over{false};
  std::thread sleeper([&] {
    clock = cpu::this_thread_clock();
    while (!over) std::this_thread::sleep_for(10ms);
  });
  EXPECT_TRUE(soon([&] { return clock != cpu::ThreadClock{} && cpu::stands_still(clock); }));
  over = true;
  sleeper.join();
}

}  // namespace
}  // namespace halyard
