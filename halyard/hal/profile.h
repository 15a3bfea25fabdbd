// Where a device's time went: per kernel and per command-buffer label.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace halyard {

/// What the dispatches of one kernel, or the command buffers of one label, took together.
struct ProfileRow {
  std::string name;
  std::uint64_t calls = 0;
  std::chrono::nanoseconds thread_time{0};  ///< in its tiles, summed over threads
  std::chrono::nanoseconds elapsed{0};      ///< from the first tile's start to the last one's end, summed over calls
  std::uint64_t bytes = 0;                  ///< of the windows bound, summed over dispatches
};

/// Since the device was opened or reset_profile() was called; rows by thread time, the greatest first.
struct Profile {
  std::vector<ProfileRow> kernels, labels;
};

}  // namespace halyard
