// Weights are used where they lie in the file: one of 100 GiB costs what is read of it.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/hal/cpu/proc_test.h"
#include "halyard/io/safetensors.h"
#include "halyard/testing/cpu_time.h"
#include "halyard/testing/kernels.h"
#include "halyard/testing/patience.h"

namespace halyard {
namespace {

using namespace testing;
namespace fs = std::filesystem;

constexpr std::size_t gib = std::size_t{1} << 30, mib = std::size_t{1} << 20;
constexpr std::size_t elements = 25 * gib;                              // of i32
constexpr std::size_t places[] = {0, 12 * gib + 1000, elements - 256};  // where something other than zeros stands
constexpr std::uint32_t window = 256;

class HugeFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "halyard-huge-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// A sparse file of `header` and 100 GiB of zeros, but for 7, 8, 9 at the three places; empty where the file system
  /// has no such files.
  std::string make(const std::string& header) {
    const std::string path = (folder_ / "weights").string();
    std::ofstream(path, std::ios::binary) << header;
    std::error_code error;
    fs::resize_file(path, header.size() + elements * 4, error);
    if (error) return {};
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    for (std::int32_t i = 0; i < 3; ++i) {
      const std::int32_t v = 7 + i;
      file.seekp(static_cast<std::streamoff>(header.size() + places[i] * 4));
      file.write(reinterpret_cast<const char*>(&v), sizeof v);
    }
    return file.flush() ? path : std::string();
  }

  /// Imports the data and has a kernel read a window at each place.
  static void expect_windows(Device& d, const std::shared_ptr<const void>& owner, const std::byte* data) {
    const Buffer in = value(d.import_host(owner, data, DType::i32, {elements}));
    const Buffer out = value(d.alloc(DType::i32, {3, window}));
    auto e = value(d.command_encoder());
    for (std::size_t i = 0; i < 3; ++i)
      ok(run(
          e, add_constant_kernel,
          {value(in.view(places[i] * 4, DType::i32, {window})), value(out.view(i * window * 4, DType::i32, {window}))},
          window, 1));
    ok(e.commit_and_wait());
    const auto read = value(out.read<std::int32_t>());
    for (std::size_t i = 0; i < 3 * window; ++i)
      ASSERT_EQ(read[i], i % window == 0 ? 8 + static_cast<std::int32_t>(i / window) : 1) << i;
  }

  fs::path folder_;
};

/// What was done in between took no more than 16 MiB of memory, and no time to speak of.
class Frugal {
 public:
  ~Frugal() {
    const double ms = thread_ms() - start_;
    EXPECT_LT(ms, 100 * patience);
    EXPECT_LT(process_bytes("VmRSS"), resident_ + 16 * mib);
    ::testing::Test::RecordProperty("milliseconds", fmt::format("{:.1f}", ms));
  }

 private:
  std::size_t resident_ = process_bytes("VmRSS");
  double start_ = thread_ms();
};

TEST_F(HugeFile, IsImportedWithoutBeingRead) {
  const std::string path = make("");
  if (path.empty()) GTEST_SKIP() << "no sparse files of 100 GiB in " << folder_;
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  const Frugal frugal;
  const MappedFile file = value(MappedFile::open(path));
  ASSERT_EQ(file.bytes().size(), 100 * gib);
  expect_windows(d, file.owner(), file.bytes().data());
}

TEST_F(HugeFile, OfSafetensorsToo) {
  std::string header = fmt::format(R"({{"w":{{"dtype":"I32","shape":[{},1024],"data_offsets":[0,{}]}}}})",
                                   elements / 1024, elements * 4);
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t n = header.size();
  const std::string path = make(std::string(reinterpret_cast<const char*>(&n), sizeof n) + header);
  if (path.empty()) GTEST_SKIP() << "no sparse files of 100 GiB in " << folder_;
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  const Frugal frugal;
  const SafeTensors file = value(SafeTensors::open(path));
  const Tensor* w = file.find("w");
  ASSERT_NE(w, nullptr);
  ASSERT_EQ(w->data.size(), 100 * gib);
  expect_windows(d, w->file, w->data.data());
}

}  // namespace
}  // namespace halyard
