// What the layer above makes of its driver's answers.
#include "halyard/hal/driver.h"

#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "halyard/testing/fault_driver.h"
#include "halyard/testing/kernels.h"
#include "halyard/testing/open_device.h"

namespace halyard {
namespace {

using namespace testing;
using namespace std::chrono_literals;

std::unique_ptr<Driver> cpu_driver() { return std::move(*open_cpu_driver({.cpu = {.threads = 2}})); }

/// A compiler that is still at work on one kernel while others are recorded.
class SlowCompiler final : public ForwardingDriver {
 public:
  SlowCompiler() : ForwardingDriver(cpu_driver()) {}
  Result<std::unique_ptr<CompiledKernel>> compile(const KernelDef& def, const Constants& specialisation) override {
    if (&def == &add_constant_kernel) {
      begun.set_value();
      in_time = recorded.get_future().wait_for(20s) == std::future_status::ready;
    }
    ++compiled;
    return inner().compile(def, specialisation);
  }
  std::promise<void> begun, recorded;
  bool in_time = false;
  std::atomic<int> compiled{0};
};

TEST(Drivers, CompileWhileOthersRecord) {
  auto made = std::make_unique<SlowCompiler>();
  SlowCompiler& driver = *made;
  Device d = open_device(std::move(made));
  Buffer x = value(d.alloc(DType::u32, {64}));
  value(d.kernel(scale_in_place_kernel));
  std::thread compiling([&] { value(d.kernel(add_constant_kernel)); });
  driver.begun.get_future().wait();
  auto e = value(d.command_encoder());
  ok(run(e, scale_in_place_kernel, {x}, 64, 7U));
  ok(e.commit_and_wait());
  driver.recorded.set_value();
  compiling.join();
  EXPECT_TRUE(driver.in_time) << "recording waited for the compiler";
  EXPECT_EQ(value(x.read<std::uint32_t>())[63], 7U);
}

TEST(Drivers, CompileAKernelOnceForAllWhoAskAtATime) {
  auto made = std::make_unique<SlowCompiler>();
  SlowCompiler& driver = *made;
  driver.recorded.set_value();
  Device d = open_device(std::move(made));
  std::vector<std::thread> asking;
  std::vector<const CompiledKernel*> got(8);
  for (const CompiledKernel*& k : got) asking.emplace_back([&] { k = value(d.kernel(add_constant_kernel)).get(); });
  for (std::thread& t : asking) t.join();
  EXPECT_EQ(driver.compiled, 1);
  EXPECT_EQ(d.stats().kernels_compiled, 1U);
  EXPECT_EQ(std::count(got.begin(), got.end(), got[0]), 8);
}

void expect_injected(const Result<void>& r) {
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().str().find("injected"), std::string::npos) << r.error().str();
}
template <class T> Result<void> without_value(const Result<T>& r) { return r ? Result<void>() : fail(r.error()); }

TEST(Drivers, RefuseReadsWritesAndPlansAndAreAskedAgain) {
  const FaultyDevice faulty = open_faulty(cpu_driver(), {}, 1, {});
  Device d = faulty.device;
  const std::vector<std::uint32_t> ones(64, 1), twos(64, 2);
  Buffer x = value(d.alloc(DType::u32, {64}));
  ok(x.write<std::uint32_t>(ones));
  auto e = value(d.command_encoder());
  e.start_capture();
  ok(run(e, scale_in_place_kernel, {x}, 64, 0U));
  const ComputeGraph g = value(e.take_capture());

  faulty.driver->set_odds({.copy = 1000, .prepare = 1000});
  expect_injected(without_value(x.read<std::uint32_t>()));
  expect_injected(x.write<std::uint32_t>(twos));
  expect_injected(without_value(g.compile()));
  faulty.driver->set_odds({});

  EXPECT_EQ(value(x.read<std::uint32_t>()), ones) << "what was refused has changed nothing";
  ok(e.replay(value(g.compile())));
  ok(e.commit_and_wait());
  EXPECT_EQ(value(x.read<std::uint32_t>())[0], 3U);
}

}  // namespace
}  // namespace halyard
