// Memory that the CPU driver pins.
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "halyard/hal/cpu/proc_test.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

constexpr std::size_t mib = std::size_t{1} << 20;

void commit(Device& d) { ok(value(d.command_encoder()).commit_and_wait()); }

TEST(Pinning, KeepsLargeMemoryAndTouchesNoneOfIt) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  const std::size_t locked = process_bytes("VmLck"), resident = process_bytes("VmRSS");
  Buffer large = value(d.alloc(DType::u8, {64 * mib})), small = value(d.alloc(DType::u8, {1000}));
  EXPECT_EQ(d.residency().pinned_bytes, 0U);
  commit(d);
  if (const std::string refusal = d.residency().refusal; !refusal.empty()) GTEST_SKIP() << refusal;
  EXPECT_EQ(d.residency().bytes, 64 * mib + 1000);
  EXPECT_EQ(d.residency().pinned_bytes, 64 * mib);
  EXPECT_EQ(process_bytes("VmLck") - locked, 64 * mib);
  EXPECT_LT(process_bytes("VmRSS"), resident + 16 * mib);
  large = Buffer();
  EXPECT_EQ(d.residency().pinned_bytes, 0U);
  EXPECT_EQ(process_bytes("VmLck"), locked);
}

TEST(Pinning, EndsWhereMemoryLeavesTheSetAndComesBackWithIt) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  auto s = value(d.encoder_session());
  const Buffer b = value(d.alloc(DType::u8, {2 * mib}));
  commit(d);
  if (const std::string refusal = d.residency().refusal; !refusal.empty()) GTEST_SKIP() << refusal;
  for (const bool member : {false, true}) {
    EXPECT_TRUE(member ? s.add_to_residency_set(b) : s.remove_from_residency_set(b));
    commit(d);
    EXPECT_EQ(d.residency().pinned_bytes, member ? 2 * mib : 0);
  }
}

TEST(Pinning, LeavesAQuarterOfMemoryToOthers) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  const std::size_t limit = d.residency().pin_limit, locked = process_bytes("VmLck");
  EXPECT_GT(limit, 0U);
  EXPECT_LT(limit, d.memory_budget());
  const Buffer b = value(d.alloc(DType::u8, {limit + mib}));  // untouched, it takes no memory
  commit(d);
  EXPECT_NE(d.residency().refusal.find("three quarters"), std::string::npos) << d.residency().refusal;
  EXPECT_EQ(d.residency().pinned_bytes, 0U);
  EXPECT_EQ(process_bytes("VmLck"), locked);
}

TEST(Pinning, CanBeTurnedOff) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1, .pin = false}}));
  const std::size_t locked = process_bytes("VmLck");
  const Buffer b = value(d.alloc(DType::u8, {8 * mib}));
  commit(d);
  EXPECT_EQ(process_bytes("VmLck"), locked);
  EXPECT_EQ(d.residency().pinned_bytes, 0U);
  EXPECT_EQ(d.residency().pin_limit, 0U);
  EXPECT_EQ(d.residency().refusal, "");
}

/// This thread without the right to pin more than one megabyte, as most users are.
class Unprivileged {
 public:
  Unprivileged() {
    ::getrlimit(RLIMIT_MEMLOCK, &before_);
    rlimit low = before_;
    low.rlim_cur = 1'000'000;
    ::setrlimit(RLIMIT_MEMLOCK, &low);
    may_pin(false);
  }
  ~Unprivileged() {
    ::setrlimit(RLIMIT_MEMLOCK, &before_);
    if (was_privileged_) may_pin(true);
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  void may_pin(bool may) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
    constexpr auto bit = std::uint32_t{1} << CAP_IPC_LOCK;
    ::syscall(SYS_capget, &header, data);
    if (!may) was_privileged_ = data[0].effective & bit;
    data[0].effective = may ? data[0].effective | bit : data[0].effective & ~bit;
    ::syscall(SYS_capset, &header, data);
  }

  rlimit before_{};
  bool was_privileged_ = false;
};

TEST(Pinning, SaysWhatToDoWhereTheSystemRefuses) {
  const Unprivileged user;
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  Buffer b = value(d.alloc(DType::i32, {mib}));
  auto e = value(d.command_encoder());
  ok(run(e, scale_in_place_kernel, {b}, 64, 7U));
  ok(e.commit_and_wait());  // works all the same
  EXPECT_EQ(value(b.read<std::int32_t>())[0], 7);
  EXPECT_EQ(d.residency().refusal, "the system lets this process pin 1000 kB: raise `ulimit -l`");
  EXPECT_EQ(d.residency().pinned_bytes, 0U);
  EXPECT_EQ(d.residency_count(), 1U);
}

}  // namespace
}  // namespace halyard
