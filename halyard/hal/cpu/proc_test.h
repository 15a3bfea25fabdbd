// What the system counts of this process; for tests.
#pragma once

#include <cstddef>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

namespace halyard::testing {

/// A line of /proc/self/status in bytes: "VmRSS" (resident), "VmLck" (pinned); 0 where there is none.
inline std::size_t process_bytes(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::size_t kib = 0;
    if (word.size() == name.size() + 1 && word.starts_with(name) && status >> kib) return kib * 1024;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace halyard::testing
