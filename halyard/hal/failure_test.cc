// What happens when memory runs out, a kernel does not return, or the time of kernels is asked for.
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "halyard/base/json.h"
#include "halyard/hal/state.h"
#include "halyard/testing/json.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;
using namespace std::chrono_literals;

TEST(MemoryBudget, IsBelowWhatTheSystemHasUnlessSet) {
  const Device d = value(Device::open("cpu"));
  EXPECT_GT(d.memory_budget(), 0U);
  EXPECT_LT(d.memory_budget(), d.capabilities().memory_bytes);
}

std::atomic<bool> released{false};
void blocking(const CpuTile&) {
  while (!released) std::this_thread::sleep_for(1ms);
}
const KernelDef blocking_kernel = {"test_blocking", "x", {&cpu_form<blocking>}};

// Lets the stuck kernels go, and waits until what they held is gone.
void release_and_expect_gone(const std::weak_ptr<DeviceState>& device) {
  released = true;
  const auto until = std::chrono::steady_clock::now() + 30s;
  while (!device.expired() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(device.expired());
}

// Changes the byte that the constant numbers, wherever that is.
void straying(const CpuTile& t) { t.as<std::uint8_t>(1)[t.constants_as<std::int32_t>()] ^= std::uint8_t{1}; }
const KernelDef straying_kernel = {"test_straying", "rw", {&cpu_form<straying>}};
void dishonest(const CpuTile& t) { t.as<std::uint8_t>(0)[3] ^= std::uint8_t{1}; }
const KernelDef dishonest_kernel = {"test_dishonest", "rw", {&cpu_form<dishonest>}};

class Validation : public ::testing::Test {
 protected:
  Device device = value(Device::open("cpu", {.cpu = {.threads = 2}, .validate = true}));
  Buffer in = value(device.alloc(DType::u8, {64})), out = value(device.alloc(DType::u8, {64}));
  Buffer window = value(out.view(16, DType::u8, {32}));

  void expect_failure(const KernelDef& k, std::int32_t at, const char* part) {
    auto e = value(device.command_encoder());
    ok(run(e, k, {in, window}, 1, at));
    const auto r = e.commit_and_wait("layer 9");
    ASSERT_FALSE(r) << at;
    EXPECT_EQ(r.error().code, Errc::kernel_failed);
    for (const char* p : {"layer 9", k.name.data(), part})
      EXPECT_NE(r.error().str().find(p), std::string::npos) << r.error().str();
  }
};

TEST_F(Validation, CatchesWritesOutsideTheWindow) {
  expect_failure(straying_kernel, -17, "before");
  expect_failure(straying_kernel, -4096, "before");
  expect_failure(straying_kernel, -1, "[0, 16)");
  expect_failure(straying_kernel, -16, "[0, 16)");
  expect_failure(straying_kernel, 32, "[48, 64)");
  expect_failure(straying_kernel, 47, "[48, 64)");
  expect_failure(straying_kernel, 48, "past");
  expect_failure(straying_kernel, 48 + 4095, "past");
}

TEST_F(Validation, CatchesWritesToWhatIsDeclaredReadOnly) { expect_failure(dishonest_kernel, 0, "binding 0"); }

TEST_F(Validation, LetsHonestWorkPass) {
  EXPECT_EQ(device.stats().bytes_allocated, 128U);  // guards are not the caller's
  auto e = value(device.command_encoder());
  for (const std::int32_t at : {0, 31}) ok(run(e, straying_kernel, {in, window}, 1, at));
  const Buffer big = value(device.alloc(DType::u32, {std::size_t{1} << 20}));
  for (int i = 0; i < 3; ++i) ok(run(e, scale_in_place_kernel, {big}, 1U << 20, 2U));
  ok(run(e, add_constant_kernel, {value(big.view(0, DType::u32, {64})), value(big.view(256, DType::u32, {64}))}, 64,
         1));
  ok(e.commit_and_wait());
  const auto v = value(big.read<std::uint32_t>());
  EXPECT_EQ((std::vector{v[0], v[64], v.back()}), (std::vector<std::uint32_t>{26, 27, 26}));
}

class Watchdog : public ::testing::TestWithParam<int> {};

TEST_P(Watchdog, GivesAStuckDeviceUp) {
  released = false;
  std::weak_ptr<DeviceState> watch;
  {
    Device d = value(Device::open("cpu", {.cpu = {.threads = GetParam()}, .timeout = 50ms}));
    watch = d.state();
    Buffer b = value(d.alloc(DType::u32, {64})), other = value(d.alloc(DType::u32, {64}));
    auto s = value(d.encoder_session());
    ok(run(s.encoder(), scale_in_place_kernel, {b}, 64, 1U));
    ok(s.fence_stage("fine"));
    const CommandBuffer fine = s.command_buffer();
    ok(s.reset_for_next_stage());
    ok(run(s.encoder(), scale_in_place_kernel, {b}, 64, 1U));
    ok(run(s.encoder(), blocking_kernel, {b}, 2));
    ok(run(s.encoder(), scale_in_place_kernel, {b}, 64, 1U));
    ok(s.fence_stage("layer 7"));
    CommandBuffer stuck = s.command_buffer();
    ok(s.reset_for_next_stage());
    ok(run(s.encoder(), scale_in_place_kernel, {b}, 64, 1U));
    ok(s.fence_stage("behind"));
    CommandBuffer behind = s.command_buffer();
    ok(s.reset_for_next_stage());

    const auto late = stuck.wait_until_completed();
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, Errc::timeout);
    for (const char* part : {"layer 7", "test_blocking", "50 ms"})
      EXPECT_NE(late.error().str().find(part), std::string::npos) << late.error().str();
    EXPECT_TRUE(d.is_lost());
    EXPECT_EQ(stuck.status(), CommandBufferStatus::failed);
    EXPECT_EQ(stuck.gpu_time(), 0ns);
    ok(CommandBuffer(fine).wait_until_completed());

    EXPECT_EQ(stuck.wait_until_completed().error().code, Errc::timeout);
    EXPECT_EQ(behind.wait_until_completed().error().code, Errc::device_lost);
    EXPECT_EQ(b.read<std::uint32_t>().error().code, Errc::device_lost);
    EXPECT_TRUE(other.read<std::uint32_t>());
    EXPECT_EQ(d.wait_idle().error().code, Errc::device_lost);
    EXPECT_EQ(s.commit_and_wait().error().code, Errc::device_lost);
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {other}, 64, 1U));
    EXPECT_EQ(e.commit("late").error().code, Errc::device_lost);
  }
  EXPECT_FALSE(watch.expired());  // the stuck kernel's memory is kept
  release_and_expect_gone(watch);
}
INSTANTIATE_TEST_SUITE_P(Threads, Watchdog, ::testing::Values(1, 2, 3));

TEST(Watchdog, TimesEachCommandBufferAndNotTheQueue) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}, .timeout = 400ms}));
  Buffer b = value(d.alloc(DType::u32, {64}));
  CommandBuffer last;
  for (int i = 0; i < 10; ++i) {
    auto e = value(d.command_encoder());
    ok(run(e, sleeping_kernel, {b}, 1, 60));
    last = value(e.commit());
  }
  ok(last.wait_until_completed());
  EXPECT_FALSE(d.is_lost());
}

TEST(Watchdog, ChangesNoResult) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 3}, .timeout = 60s}));
  Buffer b = value(d.alloc(DType::u32, {1024}));
  std::uint32_t expected = 0;
  for (std::uint32_t i = 0; i < 200; ++i) {
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {b}, 1024, i));
    ok(run(e, scale_in_place_kernel, {b}, 1024, i));
    expected = (expected * 3 + i) * 3 + i;
    ok(e.commit_and_wait());
  }
  EXPECT_EQ(value(b.read<std::uint32_t>()), std::vector<std::uint32_t>(1024, expected));
  EXPECT_EQ(Device::open("cpu", {.timeout = -1ms}).error().code, Errc::invalid_argument);
}

TEST(Profile, SumsKernelsAndLabels) {
  for (const int threads : {1, 3}) {
    Device d = value(Device::open("cpu", {.cpu = {.threads = threads}, .profile = true}));
    Buffer b = value(d.alloc(DType::u32, {256}));
    for (int i = 0; i < 3; ++i) {
      auto e = value(d.command_encoder());
      ok(run(e, sleeping_kernel, {b}, 4, 5));
      ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
      ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
      ok(e.commit_and_wait(i ? "later" : "first"));
    }
    const Profile p = d.profile();
    ASSERT_EQ(p.kernels.size(), 2U);
    EXPECT_EQ(p.kernels[0].name, "test_sleeping");
    EXPECT_EQ(p.kernels[0].calls, 3U);
    EXPECT_GE(p.kernels[0].thread_time, 3 * 4 * 5ms);
    EXPECT_GE(p.kernels[0].elapsed * threads, p.kernels[0].thread_time);
    EXPECT_EQ(p.kernels[1].name, "test_scale");
    EXPECT_EQ(p.kernels[1].calls, 6U);
    EXPECT_EQ(p.kernels[1].bytes, 6U * 1024);
    ASSERT_EQ(p.labels.size(), 2U);
    EXPECT_EQ(p.labels[0].name, "later");
    EXPECT_EQ(p.labels[0].calls, 2U);
    EXPECT_EQ(p.labels[1].bytes, 3U * 1024);
    d.reset_profile();
    EXPECT_TRUE(d.profile().kernels.empty());
  }
}

TEST(Profile, CountsTheDispatchesOfReplays) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}, .profile = true}));
  Buffer b = value(d.alloc(DType::u32, {256}));
  auto e = value(d.command_encoder());
  e.start_capture();
  ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
  ok(run(e, sleeping_kernel, {b}, 2, 1));
  ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
  const Plan plan = value(value(e.take_capture()).compile());
  for (int i = 0; i < 2; ++i) ok(e.replay(plan));
  ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
  ok(e.commit_and_wait("replays"));
  const Profile p = d.profile();
  ASSERT_EQ(p.kernels.size(), 2U);
  EXPECT_EQ(p.kernels[0].name, "test_sleeping");
  EXPECT_EQ(p.kernels[0].calls, 2U);
  EXPECT_GE(p.kernels[0].thread_time, 4ms);
  EXPECT_EQ(p.kernels[1].calls, 5U);
  EXPECT_EQ(p.kernels[1].bytes, 5U * 1024);
  ASSERT_EQ(p.labels.size(), 1U);
  EXPECT_EQ(p.labels[0].name, "replays");
  EXPECT_EQ(p.labels[0].thread_time, p.kernels[0].thread_time + p.kernels[1].thread_time);
}

TEST(Profile, WritesATraceWhoseLanesDoNotOverlap) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}, .profile = true}));
  Buffer b = value(d.alloc(DType::u32, {4096}));
  for (int i = 0; i < 20; ++i) {
    auto e = value(d.command_encoder());
    for (int k = 0; k < 5; ++k) ok(run(e, scale_in_place_kernel, {b}, 4096, 1U));
    ok(e.commit_and_wait("layer \"1\""));
  }
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "halyard_trace.json";
  ok(d.write_trace(path.string()));
  std::ifstream file(path);
  const Json trace = testing::json_of(std::string{std::istreambuf_iterator<char>(file), {}});
  ASSERT_TRUE(trace.is_object());
  std::size_t kernels = 0, stages = 0;
  std::map<int, std::vector<std::pair<double, double>>> lanes;
  for (const Json& e : trace["traceEvents"]) {
    if (e["ph"] != "X") continue;
    ++(e["name"] == "test_scale" ? kernels : stages);
    if (e["tid"] == 0) { EXPECT_EQ(e["name"], "layer \"1\""); }
    lanes[e["tid"].get<int>()].emplace_back(e["ts"].get<double>(), e["dur"].get<double>());
  }
  EXPECT_EQ(stages, 20U);
  EXPECT_GE(kernels, 100U);
  for (auto& [lane, spans] : lanes) {
    std::sort(spans.begin(), spans.end());
    for (std::size_t i = 1; i < spans.size(); ++i)
      EXPECT_GE(spans[i].first + 0.002, spans[i - 1].first + spans[i - 1].second) << lane;
  }
  std::filesystem::remove(path);
}

TEST(Profile, IsEmptyWhereItIsOff) {
  Device d = value(Device::open("cpu"));
  ok(value(d.command_encoder()).commit_and_wait());
  EXPECT_TRUE(d.profile().labels.empty());
  EXPECT_EQ(d.write_trace("unused").error().code, Errc::invalid_state);
}

}  // namespace
}  // namespace halyard
