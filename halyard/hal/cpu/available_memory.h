// What the system can still give a process in memory.
#pragma once

#include <cstddef>
#include <filesystem>

namespace halyard {

/// Bytes of memory that may be taken without driving the system, or the control groups of this process, out of it:
/// MemAvailable of /proc/meminfo, or what is left under the tightest limit of its control groups (versions 2 and 1).
/// All of memory where the system does not say. `root` is where /proc and /sys are.
std::size_t available_memory(const std::filesystem::path& root = "/");

}  // namespace halyard
