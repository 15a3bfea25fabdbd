// Poison: what validation does so that the content of undefined memory shows.
#include <gtest/gtest.h>

#include "halyard/hal/validate.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;
using Values = std::vector<std::int32_t>;

// Says 'w', and adds to what it finds.
void accumulate(const CpuTile& t) { t.as<std::int32_t>(0)[0] += 5; }
const KernelDef accumulate_kernel = {"test_accumulate", "w", {&cpu_form<accumulate>}};

// Shows what its scratch held, and leaves something in it.
void show_scratch(const CpuTile& t) {
  t.as<std::uint8_t>(0)[t.x0] = std::to_integer<std::uint8_t>(t.shared[7]);
  t.shared[7] = std::byte{1};
}
const KernelDef show_scratch_kernel = {"test_show_scratch", "x", {&cpu_form<show_scratch>}};

// Writes past the end of its window.
void stray(const CpuTile& t) { t.as<std::uint8_t>(0)[t.sizes[0]] = 1; }
const KernelDef stray_kernel = {"test_stray", "w", {&cpu_form<stray>}};

class Poison : public ::testing::Test {
 protected:
  Device device = value(Device::open("cpu", {.validate = true}));
  Buffer buffer = value(device.alloc(DType::i32, {64}));

  Buffer window(std::size_t begin, std::size_t n) { return value(buffer.view(begin * 4, DType::i32, {n})); }
  void fill(std::int32_t v) { ok(buffer.write(std::span<const std::int32_t>(Values(64, v)))); }
  void run_one(const KernelDef& k, std::initializer_list<Buffer> buffers, std::uint32_t n, Constants c = {}) {
    auto e = value(device.command_encoder());
    ok(run(e, k, buffers, n, c));
    ok(e.commit_and_wait());
  }
  /// Elements [begin, end) all have the value.
  void expect(std::size_t begin, std::size_t end, std::int32_t v) {
    EXPECT_EQ(value(window(begin, end - begin).read<std::int32_t>()), Values(end - begin, v)) << begin;
  }
};

TEST_F(Poison, FillsAWindowThatIsOnlyWrittenAndNothingElse) {
  fill(7);
  run_one(add_constant_kernel, {window(0, 16), window(16, 32)}, 8, 1);
  expect(0, 16, 7);
  expect(16, 24, 8);
  expect(24, 48, -1);
  expect(48, 64, 7);
}

TEST_F(Poison, SparesBytesThatTheDispatchReads) {
  fill(7);
  run_one(add_constant_kernel, {buffer, buffer}, 64, 1);
  expect(0, 64, 8);
  run_one(add_constant_kernel, {window(0, 32), window(16, 32)}, 4, 1);
  expect(0, 16, 8);
  expect(16, 20, 9);
  expect(20, 32, 8);
  expect(32, 48, -1);
  expect(48, 64, 8);
}

TEST_F(Poison, ShowsAKernelThatReadsWhatItDeclaresOnlyToWrite) {
  fill(7);
  run_one(accumulate_kernel, {buffer}, 1);
  expect(0, 1, 4);  // 12, had it been declared
}

TEST_F(Poison, LeavesFreshMemoryZero) { expect(0, 64, 0); }

TEST_F(Poison, FillsTheScratchOfEachTile) {
  const Buffer out = value(device.alloc(DType::u8, {4}));
  auto e = value(device.command_encoder());
  const KernelRef k = value(e.kernel(show_scratch_kernel));
  ok(e.dispatch({.kernel = k, .grid = {4}, .buffers = std::span(&out, 1), .shared_bytes = 8}));
  ok(e.commit_and_wait());
  EXPECT_EQ(value(out.read<std::uint8_t>()), std::vector<std::uint8_t>(4, poison));
}

TEST_F(Poison, WorksOnReplaysAsDoTheChecks) {
  const auto plan_of = [&](const KernelDef& k, std::initializer_list<Buffer> buffers) {
    auto e = value(device.command_encoder());
    e.start_capture();
    ok(run(e, k, buffers, 8, 1));
    return value(value(e.take_capture()).compile());
  };
  fill(7);
  const Plan good = plan_of(add_constant_kernel, {window(0, 16), window(16, 32)});
  const Plan bad = plan_of(stray_kernel, {window(0, 4)});
  auto s = value(device.encoder_session());
  ok(s.encoder().replay(good));
  ok(s.commit_and_wait());
  expect(16, 24, 8);
  expect(24, 48, -1);
  ok(s.reset_for_next_stage());
  ok(s.encoder().replay(good));
  ok(s.encoder().replay(bad));
  s.begin_stage("token 5");
  const auto r = s.commit_and_wait();
  ASSERT_FALSE(r);
  for (const char* part : {"token 5", "test_stray", "[16, 256)"})
    EXPECT_NE(r.error().str().find(part), std::string::npos) << r.error().str();
}

}  // namespace
}  // namespace halyard
