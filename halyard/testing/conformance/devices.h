// The devices that the conformance suite runs on. A new driver joins by a line.
#pragma once

#include <ostream>

#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"
#include "halyard/testing/sim/sim_driver.h"

namespace halyard::testing {

struct DeviceCase {
  const char* name;
  Device (*open)();
  friend void PrintTo(const DeviceCase& c, std::ostream* out) { *out << c.name; }
};

template <int threads> Device open_cpu() { return value(Device::open("cpu", {.threads = threads})); }

/// Each one opened has another schedule; the device's name says which.
inline Device open_sim() {
  static std::uint64_t seed = 0;
  return value(open_sim_device({.seed = ++seed}));
}

/// Those that several threads may use at once, and those that one may.
inline constexpr DeviceCase concurrent_devices[] = {
    {"cpu_1_thread", open_cpu<1>}, {"cpu_2_threads", open_cpu<2>}, {"cpu_5_threads", open_cpu<5>}};
inline constexpr DeviceCase single_devices[] = {{"sim", open_sim}};

/// A test of each device. What it left running on simulated ones is finished with it.
class OnEveryDevice : public ::testing::TestWithParam<DeviceCase> {
 protected:
  Device open() const { return GetParam().open(); }
  void TearDown() override { finish_sim_devices(); }
};

inline std::string case_name(const ::testing::TestParamInfo<DeviceCase>& info) { return info.param.name; }

}  // namespace halyard::testing
