// A device over any driver, as Device::open makes one over those it knows.
#pragma once

#include <memory>
#include <utility>

#include "halyard/hal/state.h"

namespace halyard::testing {

inline Device open_device(std::unique_ptr<Driver> driver, const DeviceOptions& options = {}) {
  auto state = std::make_shared<DeviceState>();
  state->driver = std::move(driver);
  if (options.memory_budget) state->memory_budget = options.memory_budget;
  state->timeout = options.timeout;
  state->validate = options.validate;
  if (options.profile) state->profiler = std::make_unique<Profiler>();
  return Device(std::move(state));
}

}  // namespace halyard::testing
