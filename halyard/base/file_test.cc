#include "halyard/base/file.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace halyard {
namespace {

namespace fs = std::filesystem;

// From now on this process is on a file system that knows no files without a name.
bool refuse_nameless_files() {
  sock_filter code[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
                        {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, SYS_openat},
                        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, args[2])},
                        {BPF_JMP | BPF_JSET | BPF_K, 0, 1, O_TMPFILE & ~O_DIRECTORY},
                        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EOPNOTSUPP},
                        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  const sock_fprog program{std::size(code), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

int files_in(const std::string& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// What went wrong, 0: nothing, 2: the kernel has no such filters.
int write_where_files_need_names(const std::string& folder) {
  if (!refuse_nameless_files()) return 2;
  for (int round = 0; round < 20; ++round) {  // more than there are places: they are given back
    auto dropped = FileWriter::create(folder + "/x");
    if (!dropped || files_in(folder) != 1) return 3;
  }
  if (files_in(folder) != 0) return 4;
  auto writer = FileWriter::create(folder + "/x");
  if (!writer || !write_file(folder + "/whole", "text") || files_in(folder) != 2) return 5;
  remove_unfinished_files();
  if (files_in(folder) != 1 || read_file(folder + "/whole") != "text") return 6;
  return writer->commit() ? 7 : 0;
}

TEST(NamesIn, GivesWhatIsInAFolderOrSaysWhyNot) {
  std::string folder = (fs::temp_directory_path() / "halyard-names-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  EXPECT_EQ(names_in(folder).value().size(), 0U);
  fs::create_directory(folder + "/.b");
  ASSERT_TRUE(write_file(folder + "/a", "text"));
  auto names = names_in(folder).value();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{".b", "a"}));
  EXPECT_EQ(names_in(folder + "/nothing").error().code, Errc::not_found);
  EXPECT_EQ(names_in(folder + "/a").error().code, Errc::io);
  fs::remove_all(folder);
}

TEST(FileWriter, DevicesAndPipesAreWrittenAsTheBytesCome) {
  EXPECT_TRUE(write_file("/dev/null", "text"));
  const auto full = write_file("/dev/full", "text");
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().str().find("/dev/full: No space left"), std::string::npos) << full.error().str();
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  EXPECT_TRUE(write_file("/proc/self/fd/" + std::to_string(ends[1]), "text"));
  char seen[5] = {};
  EXPECT_EQ(::read(ends[0], seen, 5), 4);
  EXPECT_STREQ(seen, "text");
  for (const int fd : ends) ::close(fd);
}

TEST(FileWriter, WhatIsUnfinishedCanBeRemovedByASignalHandler) {
  std::string folder = (fs::temp_directory_path() / "halyard-file-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(write_where_files_need_names(folder));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  fs::remove_all(folder);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "the kernel refuses system call filters";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace halyard
