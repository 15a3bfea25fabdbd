// What only the CPU has; testing/conformance has what every device does.
#include "halyard/hal/device.h"

#include <cstdlib>
#include <random>
#include <string_view>

#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

TEST(Device, OpensTheCpuAndRefusesOthersWithAReason) {
  const Device d = value(Device::open("cpu", {.cpu = {.threads = 3}}));
  const char* validate = std::getenv("HALYARD_VALIDATE");
  EXPECT_EQ(d.capabilities().backend, "cpu");
  EXPECT_EQ(d.capabilities().threads, validate && std::string_view(validate) != "0" ? 1 : 3);
  EXPECT_EQ(Device::open("cuda:0").error().code, Errc::unsupported);
  EXPECT_EQ(Device::open("abacus").error().code, Errc::not_found);
  EXPECT_EQ(Device::open("cpu", {.cpu = {.threads = -1}}).error().code, Errc::invalid_argument);
  EXPECT_FALSE(Device::list().empty());
}

TEST(Encoder, ResultsDoNotDependOnThreads) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::vector<std::uint32_t> first;
  for (const int threads : {1, 2, 5}) {
    std::mt19937 random(seed);
    Device d = value(Device::open("cpu", {.cpu = {.threads = threads}}));
    Buffer b = value(d.alloc(DType::u32, {4096}));
    auto s = value(d.encoder_session());
    for (int i = 0; i < 2000; ++i) {
      const std::size_t at = random() % 4000, n = 1 + random() % std::min<std::size_t>(1500, 4096 - at);
      ok(run(s.encoder(), scale_in_place_kernel, {value(b.view(at * 4, DType::u32, {n}))},
             static_cast<std::uint32_t>(n), static_cast<std::uint32_t>(i)));
      if (random() % 50 == 0) ok(s.fence_stage()), ok(s.reset_for_next_stage());
    }
    ok(s.commit_and_wait());
    const auto v = value(b.read<std::uint32_t>());
    if (first.empty()) first = v;
    EXPECT_EQ(v, first) << threads;
  }
}

}  // namespace
}  // namespace halyard
