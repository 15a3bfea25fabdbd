#include "halyard/hal/cpu/available_memory.h"

#include <fstream>

#include <gtest/gtest.h>

namespace halyard {
namespace {

namespace fs = std::filesystem;

class AvailableMemory : public ::testing::Test {
 protected:
  fs::path root = fs::path(::testing::TempDir()) / "available_memory";
  void SetUp() override { fs::remove_all(root); }
  void TearDown() override { fs::remove_all(root); }
  void put(const fs::path& file, const std::string& text) {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text;
  }
};

TEST_F(AvailableMemory, IsWhatTheSystemSays) {
  put("proc/meminfo", "MemTotal:  9000 kB\nMemFree: 100 kB\nMemAvailable:   5000 kB\n");
  EXPECT_EQ(available_memory(root), 5000U * 1024);
}

TEST_F(AvailableMemory, IsWhatTheTightestGroupHasLeft) {
  put("proc/meminfo", "MemAvailable: 5000 kB\n");
  put("proc/self/cgroup", "1:cpu:/elsewhere\n0::/outer/inner\n");
  put("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  put("sys/fs/cgroup/outer/inner/memory.current", "10\n");
  EXPECT_EQ(available_memory(root), 5000U * 1024);
  put("sys/fs/cgroup/outer/memory.max", "1000000\n");
  put("sys/fs/cgroup/outer/memory.current", "400000\n");
  EXPECT_EQ(available_memory(root), 600000U);
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "300000\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "400000\n");
  EXPECT_EQ(available_memory(root), 0U);
}

TEST_F(AvailableMemory, IsAllOfItWhereNobodySays) { EXPECT_GT(available_memory(root), 0U); }

}  // namespace
}  // namespace halyard
