// The devices that the conformance suite runs on. A new driver joins by a line.
#pragma once

#include <algorithm>
#include <iterator>
#include <ostream>
#include <vector>

#include <gtest/gtest.h>

#include "halyard/testing/hidden_driver.h"
#include "halyard/testing/kernels.h"
#include "halyard/testing/sim/sim_driver.h"

namespace halyard::testing {

struct DeviceCase {
  const char* name;
  Device (*open)(DeviceOptions);
  bool concurrent;  ///< several threads may use it at once
  friend void PrintTo(const DeviceCase& c, std::ostream* out) { *out << c.name; }
};

template <int threads> Device open_cpu(DeviceOptions options) {
  options.cpu.threads = threads;
  return value(Device::open("cpu", options));
}

inline Device open_hidden(DeviceOptions options) {
  options.cpu.threads = 2;
  return value(open_hidden_device(options));
}

/// Each one opened has another schedule; the device's name says which.
template <bool own_plans> Device open_sim(DeviceOptions options) {
  static std::uint64_t seed = 0;
  return value(open_sim_device({.seed = ++seed, .own_plans = own_plans}, options));
}

inline constexpr DeviceCase devices[] = {
    {"cpu_1_thread", open_cpu<1>, true}, {"cpu_2_threads", open_cpu<2>, true},     {"cpu_5_threads", open_cpu<5>, true},
    {"sim", open_sim<false>, false},     {"sim_own_plans", open_sim<true>, false}, {"hidden", open_hidden, true},
};

inline std::vector<DeviceCase> concurrent_devices() {
  std::vector<DeviceCase> some;
  std::copy_if(std::begin(devices), std::end(devices), std::back_inserter(some),
               [](const DeviceCase& c) { return c.concurrent; });
  return some;
}

/// A test of each device. What it left running on simulated ones is finished with it.
class OnEveryDevice : public ::testing::TestWithParam<DeviceCase> {
 protected:
  Device open(const DeviceOptions& options = {}) const { return GetParam().open(options); }
  void TearDown() override { finish_sim_devices(); }
};

inline std::string case_name(const ::testing::TestParamInfo<DeviceCase>& info) { return info.param.name; }

}  // namespace halyard::testing
