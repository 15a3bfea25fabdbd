#include "halyard/hal/cpu/available_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace halyard {
namespace {

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

// The number that a file of one number holds; "max", an absent file and anything else: no limit.
std::size_t number_in(const std::filesystem::path& path) {
  std::size_t n = 0;
  std::ifstream file(path);
  return file >> n ? n : unlimited;
}

std::size_t left_under(const std::filesystem::path& limit, const std::filesystem::path& used) {
  const std::size_t most = number_in(limit), now = number_in(used);
  if (most == unlimited || now == unlimited) return most;
  return most - std::min(most, now);
}

std::size_t left_in_control_groups(const std::filesystem::path& root) {
  const std::filesystem::path mount = root / "sys/fs/cgroup";
  std::size_t least = left_under(mount / "memory/memory.limit_in_bytes", mount / "memory/memory.usage_in_bytes");
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;
    for (auto group = std::filesystem::path(line.substr(4)).lexically_normal();; group = group.parent_path()) {
      least = std::min(least, left_under(mount / group / "memory.max", mount / group / "memory.current"));
      if (group.empty() || group == "." || *group.begin() == "..") break;
    }
  }
  return least;
}

std::size_t available_in_system(const std::filesystem::path& root) {
  std::ifstream info(root / "proc/meminfo");
  for (std::string name; info >> name;) {
    std::size_t kib = 0;
    if (name == "MemAvailable:" && info >> kib) return kib * 1024;
    info.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

std::size_t available_memory(const std::filesystem::path& root) {
  return std::min(available_in_system(root), left_in_control_groups(root));
}

}  // namespace halyard
