// A device for tests. It runs command buffers on the calling thread under a schedule that a seed decides: the tiles
// between two barriers in any order, completion as late as the caller can bear. It shares no code with the CPU driver's
// team or with hazard tracking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "halyard/hal/device.h"
#include "halyard/hal/driver.h"
#include "halyard/hal/recording.h"

namespace halyard::testing {

/// The order of the tiles between two barriers.
enum class Schedule : std::uint8_t {
  in_order,
  reversed,             ///< last tile of the last dispatch first
  last_dispatch_first,  ///< dispatches backwards, the tiles of each forwards
  round_robin,          ///< a tile of each dispatch in turn
  one_starved,          ///< one dispatch gets no turn before all others have finished
  shuffled,
  any,  ///< one of these, drawn anew between any two barriers
};

/// Mistakes that a driver could make, for tests of the tests.
enum class SimMistake : std::uint8_t {
  none,
  barrier_ignored,        ///< no barrier has an effect
  barrier_late,           ///< each barrier stands after its dispatch instead of before it
  barrier_early,          ///< each barrier stands one dispatch too early
  one_barrier_lost,       ///< one barrier of each command buffer has no effect
  missed_wait,            ///< a command buffer starts while the one before it still runs
  queue_backwards,        ///< the latest command buffer runs first
  wait_returns_early,     ///< a wait returns before the last tile has run
  fence_signalled_early,  ///< a fence's failure is asked for when the waiting work is submitted, not when it starts
  view_offset_ignored,    ///< kernels see the allocation's start instead of the window's
  window_off_by_one,      ///< kernels see windows that begin a byte late
  constants_shared,       ///< all dispatches of a command buffer see the last one's constants
  tile_twice,             ///< one tile of each command buffer runs twice
  last_tile_lost,         ///< the last tile of one dispatch does not run
  memory_not_zeroed,      ///< fresh memory has the content of its last use
  memory_not_retained,    ///< a submission does not keep the memory that it uses
  // of the driver's own form of plans
  plan_barrier_lost,            ///< one barrier within a plan has no effect
  replay_not_separated_before,  ///< a replay starts while what stands before it still runs
  replay_not_separated_after,   ///< what stands after a replay starts while it still runs
  replay_early,                 ///< a replay stands one dispatch too early
  replay_late,                  ///< a replay stands one dispatch too late
  replay_lost,                  ///< one replay of each command buffer does not run
  replay_twice,                 ///< one replay of each command buffer runs twice
  values_of_last_replay,        ///< all replays of a plan in a command buffer see the last one's values
  values_of_first_replay,       ///< all replays of a plan see the values of its first
  parameter_ignored,            ///< one parameter keeps what was recorded
  values_of_wrong_record,       ///< a record of a plan sees another's constants
  upper_half_lost,              ///< 8-byte parameters get the lower half of their value
  plan_not_retained,            ///< a submission does not keep the plans that it replays
  // of the residency set
  flushed_early,  ///< all that was submitted counts as completed when memory is unpinned
};

struct SimOptions {
  std::uint64_t seed = 0;
  Schedule schedule = Schedule::any;
  SimMistake mistake = SimMistake::none;
  std::optional<bool> own_plans = {};  ///< whether it makes a form of its own of plans; none: of about half of them
  /// Sees each command buffer, with the records of replayed plans in their places.
  std::function<void(std::span<const Record>)> on_submit = {};
  /// Told when memory is unpinned or freed while work needs it, or used though it should be pinned and is not.
  std::function<void(const char*)> on_wrong_memory = {};
};

/// A device that works only while it is called: commits and allocations run a random share of what is queued, waits the
/// rest. For one thread at a time.
Result<Device> open_sim_device(SimOptions, const DeviceOptions& = {});
/// Its driver alone.
std::unique_ptr<Driver> make_sim_driver(SimOptions);

/// Runs all that is queued on simulated devices. Nobody else would, once their handles are dropped.
void finish_sim_devices();

}  // namespace halyard::testing
