// Files that fail while they are read: errors of the system, reads that return less or are interrupted, files that
// shrink, and limits on what the process may have.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/file.h"
#include "halyard/io/config.h"
#include "halyard/io/model_dir.h"
#include "halyard/io/safetensors.h"
#include "halyard/models/weights.h"
#include "halyard/testing/sim/random.h"

namespace {

// What the next calls of pread do on this thread.
struct ReadFaults {
  halyard::testing::Random random{0};
  int error = 0;  // from the `after`-th call on: fails with it
  int after = 0;
  bool interrupted = false;        // one call in three does nothing
  bool short_reads = false;        // returns a part of what was asked for
  std::uint64_t end = UINT64_MAX;  // the file ends here
};
thread_local ReadFaults* faults = nullptr;

}  // namespace

// In place of the C library's, in this program.
extern "C" ssize_t pread(int fd, void* to, std::size_t bytes, off_t at) {
  if (faults) {
    const auto from = static_cast<std::uint64_t>(at);
    if (faults->error && faults->after-- <= 0) return errno = faults->error, -1;
    if (faults->interrupted && faults->random.one_in(3)) return errno = EINTR, -1;
    bytes = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, faults->end - std::min(from, faults->end)));
    if (faults->short_reads && bytes) bytes = 1 + faults->random.below(bytes);
  }
  return ::syscall(SYS_pread64, fd, to, bytes, at);
}

namespace halyard {
namespace {

namespace fs = std::filesystem;

class IoFaults : public ::testing::Test {
 protected:
  IoFaults() {
    std::string name = (fs::temp_directory_path() / "halyard-io-XXXXXX").string();
    if (::mkdtemp(name.data())) folder = name;
    write("config.json", R"({"model_type": "qwen3", "hidden_size": 64})");
    EXPECT_TRUE(write_safetensors(weights(), tensors()));
  }
  ~IoFaults() override {
    faults = nullptr;
    fs::remove_all(folder);
  }

  std::string weights() const { return (folder / "model.safetensors").string(); }
  void write(const char* name, std::string_view text) const { std::ofstream(folder / name, std::ios::binary) << text; }
  std::vector<TensorToWrite> tensors() const {
    return {{"a", DType::f32, {4096}, std::as_bytes(std::span(values))},
            {"b", DType::f32, {4096}, std::as_bytes(std::span(values))}};
  }
  static void expect_error(const Error& e, Errc code, std::initializer_list<std::string_view> parts) {
    EXPECT_EQ(e.code, code) << e.str();
    for (const auto part : parts) EXPECT_NE(e.str().find(part), std::string::npos) << e.str();
    EXPECT_EQ(e.str().find('\n'), std::string::npos);
  }

  fs::path folder;
  std::vector<float> values = std::vector<float>(4096, 3.0F);
};

TEST_F(IoFaults, AReadThatFailsIsNamedWhereverItHappens) {
  for (int after = 0; after < 3; ++after) {  // in config.json, the length of the header, the header
    ReadFaults f{.error = EIO, .after = after};
    faults = &f;
    const auto dir = ModelDir::open(folder.string());
    ASSERT_FALSE(dir);
    expect_error(dir.error(), Errc::io, {after ? "model.safetensors" : "config.json", "Input/output error"});
  }
}

TEST_F(IoFaults, ShortAndInterruptedReadsChangeNothing) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    ReadFaults f{.random = testing::Random(seed), .interrupted = true, .short_reads = true};
    faults = &f;
    const auto dir = ModelDir::open(folder.string());
    ASSERT_TRUE(dir) << dir.error().str();
    EXPECT_EQ(dir->tensors().size(), 2U);
    EXPECT_EQ(dir->config().json()["hidden_size"], 64);
  }
}

TEST_F(IoFaults, AFileThatEndsBeforeItsSizeIsAnError) {
  for (const std::uint64_t end : {0U, 4U, 8U, 9U, 40U}) {
    ReadFaults f{.end = end};
    faults = &f;
    const auto file = SafeTensors::open(weights());
    ASSERT_FALSE(file);
    expect_error(file.error(), Errc::io, {"model.safetensors", fmt::format("ends after {} bytes", end)});
    const auto text = read_file((folder / "config.json").string());
    ASSERT_FALSE(text);
    expect_error(text.error(), Errc::io, {"config.json", fmt::format("ends after {} bytes", end)});
  }
}

TEST_F(IoFaults, WeightsThatShrinkBeforeTheyAreLoadedAreAnError) {
  const ModelDir dir = ModelDir::open(folder.string()).value();
  models::DirectoryWeights source(dir);
  const Shape shapes[] = {{4096}};
  EXPECT_TRUE(source.values("a", shapes));
  fs::resize_file(weights(), 1000);  // the pages behind the first are gone
  for (const char* name : {"a", "b"}) {
    const auto v = source.values(name, shapes);
    ASSERT_FALSE(v);
    expect_error(v.error(), Errc::io, {"model.safetensors", "1000 bytes"});
  }
}

// A limit of this process, for as long as it lives.
class Limit {
 public:
  Limit(__rlimit_resource which, rlim_t most) : which_(which) {
    ::getrlimit(which_, &before_);
    rlimit now = before_;
    now.rlim_cur = most;
    ::setrlimit(which_, &now);
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  ~Limit() { ::setrlimit(which_, &before_); }

 private:
  __rlimit_resource which_;
  rlimit before_{};
};

TEST_F(IoFaults, NoFileDescriptorLeftIsAnError) {
  const Limit limit(RLIMIT_NOFILE, 0);
  const auto file = SafeTensors::open(weights());
  ASSERT_FALSE(file);
  expect_error(file.error(), Errc::io, {"model.safetensors", "Too many open files"});
}

#ifndef HALYARD_SANITIZED  // their shadow alone is more than any limit
TEST_F(IoFaults, NoAddressSpaceLeftIsAnError) {
  fs::resize_file(weights(), std::uintmax_t{1} << 40);  // sparse
  const Limit limit(RLIMIT_AS, rlim_t{1} << 38);
  const auto file = SafeTensors::open(weights());
  ASSERT_FALSE(file);
  expect_error(file.error(), Errc::io, {"model.safetensors", "cannot be mapped"});
}
#endif

TEST_F(IoFaults, AWriteThatFailsLeavesTheOldFileAndNothingElse) {
  const auto before = ::signal(SIGXFSZ, SIG_IGN);  // an error of write() instead
  for (const rlim_t most : {0U, 100U, 20000U}) {
    const Limit limit(RLIMIT_FSIZE, most);
    const auto r = write_safetensors(weights(), tensors(), {{"format", "new"}});
    ASSERT_FALSE(r) << most;
    expect_error(r.error(), Errc::io, {"model.safetensors", "File too large"});
  }
  ::signal(SIGXFSZ, before);
  const auto file = SafeTensors::open(weights());
  ASSERT_TRUE(file) << file.error().str();
  EXPECT_TRUE(file->metadata().empty());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 2);
}

}  // namespace
}  // namespace halyard
