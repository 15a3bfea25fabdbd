// What a Plan is made of. Internal to hal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "halyard/hal/driver.h"
#include "halyard/hal/recording.h"

namespace halyard {

/// A graph made ready to be replayed.
struct PlanState {
  struct Place {
    std::uint32_t at, bytes;  // in `constants`
  };
  struct Parameter {
    std::string name;
    std::uint64_t most;
    std::vector<Place> places;
  };
  struct Patched {
    std::uint32_t record, at;  // its constants stand at `at` in `constants`
  };

  std::shared_ptr<const Recording> recording;
  std::shared_ptr<DeviceState> device;
  std::size_t barriers = 0;
  std::vector<Parameter> parameters;
  std::vector<Patched> patched;      // the records that have parameters
  std::vector<std::byte> constants;  // theirs, as recorded
  std::unique_ptr<const PreparedPlan> prepared;
  /// The last submission that replays it; known to the memory it uses, which may be asked when the plan is gone.
  std::shared_ptr<std::atomic<std::uint64_t>> last_sequence = std::make_shared<std::atomic<std::uint64_t>>(0);
};

}  // namespace halyard
