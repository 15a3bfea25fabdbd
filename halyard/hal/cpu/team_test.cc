// What may happen to a team's threads: they do not start, their kernels throw or wait, their process forks.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "halyard/hal/cpu/limits.h"
#include "halyard/hal/pool.h"
#include "halyard/testing/kernels.h"

namespace {
std::atomic<int> threads_left{-1};  // that start; -1: all
}

// Stands before the system's, also where the library asks.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                              void* argument) {
  using Create = decltype(&pthread_create);
  static const auto real = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_left.load() == 0) return EAGAIN;
  if (threads_left.load() > 0) threads_left.fetch_sub(1);
  return real(thread, attributes, run, argument);
}

namespace halyard {
namespace {

using namespace testing;
using namespace std::chrono_literals;

bool says(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const std::string_view p : parts)
    if (text.find(p) == std::string::npos) return false;
  return true;
}

TEST(Threads, ThatDoNotStartAreAnErrorOfOpen) {
  for (const auto timeout : {0ms, 1000ms})
    for (const int start : {0, 1, 5}) {
      threads_left = start;
      const auto d = Device::open("cpu", {.cpu = {.threads = 8}, .timeout = timeout});
      threads_left = -1;
      if (std::getenv("HALYARD_VALIDATE") && d) continue;  // it has one thread
      ASSERT_FALSE(d);
      EXPECT_EQ(d.error().code, Errc::limit_exceeded);
      EXPECT_TRUE(says(d.error().str(), {"cannot start thread", " of ", "fewer threads"})) << d.error().str();
    }
  ok(value(Device::open("cpu", {.cpu = {.threads = 8}})).wait_idle());
}

TEST(Threads, ThatDoNotStartAreAnErrorOfWhatIsMeasured) {
  threads_left = 2;
  const auto limits = measure_cpu_limits(6, Isa::plain);
  threads_left = -1;
  ASSERT_FALSE(limits);
  EXPECT_TRUE(says(limits.error().str(), {"cannot start thread 3 of 5"})) << limits.error().str();
}

void throwing(const CpuTile& t) {
  const auto how = t.constants_as<std::int32_t>();
  if (how == 0) throw std::runtime_error("nobody expects it");
  if (how == 1) throw 7;
  if (!t.may_write()) return;
  throw std::bad_alloc();
}
const KernelDef throwing_kernel = {"test_throwing", "x", {&cpu_form<throwing>}};
const KernelDef throwing_late_kernel = {"test_throwing_late", "x", {&cpu_form<throwing, Grid{1, 1, 1}, true>}};

TEST(Kernels, ThatThrowFailTheirCommandBuffer) {
  constexpr const char* what[] = {"threw: nobody expects it", "threw: something that is no std::exception",
                                  "bad_alloc"};
  for (const auto timeout : {0ms, 60'000ms})
    for (const bool validate : {false, true}) {
      Device d = value(Device::open("cpu", {.cpu = {.threads = 3}, .timeout = timeout, .validate = validate}));
      const Buffer x = value(d.alloc(DType::i32, {64}));
      for (const KernelDef* k : {&throwing_kernel, &throwing_late_kernel})
        for (const std::int32_t how : {0, 1, 2})
          for (const std::uint32_t tiles : {1U, 64U}) {
            auto e = value(d.command_encoder());
            ok(run(e, *k, {x}, tiles, how));
            const auto r = e.commit_and_wait("layer 3");
            ASSERT_FALSE(r);
            EXPECT_EQ(r.error().code, Errc::kernel_failed);
            EXPECT_TRUE(says(r.error().str(), {"layer 3", k->name, what[how]})) << r.error().str();
          }
      ok(x.read<std::int32_t>() ? d.wait_idle() : fail(Errc::internal, "not readable"));
    }
}

// Called by a kernel.
std::function<void()> inside;
void calling(const CpuTile& t) {
  if (t.x0 == 0) inside();
}
const KernelDef calling_kernel = {"test_calling", "x", {&cpu_form<calling>}};

std::function<void(std::uint32_t)> inside_of;
void calling_with_constant(const CpuTile& t) { inside_of(t.constants_as<std::uint32_t>()); }
const KernelDef calling_with_constant_kernel = {"test_calling_with", "x", {&cpu_form<calling_with_constant>}};

TEST(Kernels, ThatWaitForTheirOwnCommandBufferGetAnError) {
  for (const auto timeout : {0ms, 60'000ms})
    for (const std::uint32_t tiles : {1U, 8U}) {
      Device d = value(Device::open("cpu", {.cpu = {.threads = 2}, .timeout = timeout}));
      const Buffer x = value(d.alloc(DType::i32, {8})), idle = value(d.alloc(DType::i32, {8}));
      auto e = value(d.command_encoder());
      CommandBuffer own = e.command_buffer();
      Result<void> of_own, of_all, of_later, of_idle;
      Result<std::vector<std::int32_t>> of_memory;
      inside = [&] {
        of_own = own.wait_until_completed();
        of_all = d.wait_idle();
        of_memory = x.read<std::int32_t>();
        of_idle = idle.read<std::int32_t>().map([](const auto&) {});
        auto later = value(d.command_encoder());
        ok(run(later, add_constant_kernel, {idle, idle}, 8, 1));
        of_later = later.commit_and_wait();
        static_cast<void>(d.stats());
      };
      ok(run(e, calling_kernel, {x}, tiles));
      ok(e.commit_and_wait("outer"));
      ok(d.wait_idle());
      ok(of_idle);
      ASSERT_FALSE(of_own || of_all || of_later || of_memory);
      for (const Error& error : {of_own.error(), of_all.error(), of_later.error(), of_memory.error()}) {
        EXPECT_EQ(error.code, Errc::invalid_state);
        EXPECT_TRUE(says(error.str(), {"outer", "before the kernel returns"})) << error.str();
      }
      EXPECT_EQ(value(idle.read<std::int32_t>()), std::vector<std::int32_t>(8, 1));  // it runs all the same
    }
}

TEST(Kernels, MayWaitForAnotherDevice) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 2}})),
         other = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  const Buffer x = value(d.alloc(DType::i32, {8})), y = value(other.alloc(DType::i32, {8}));
  Result<void> waited = fail(Errc::internal, "not run");
  inside = [&] {
    auto e = value(other.command_encoder());
    ok(run(e, add_constant_kernel, {y, y}, 8, 1));
    waited = e.commit_and_wait();
  };
  auto e = value(d.command_encoder());
  ok(run(e, calling_kernel, {x}, 8));
  ok(e.commit_and_wait());
  ok(waited);
}

// Neither kernel can return before the other's: only a timeout ends that, and where both have one, it ends for both.
TEST(Kernels, ThatWaitForEachOthersDevicesEndByTimeout) {
  const DeviceOptions options = {.cpu = {.threads = 2}, .timeout = 200ms};
  std::array<Device, 2> devices = {value(Device::open("cpu", options)), value(Device::open("cpu", options))};
  std::array<CommandBuffer, 2> work;
  std::array<Result<void>, 2> inner;
  std::atomic<int> committed{0}, returned{0};
  inside_of = [&](std::uint32_t own) {
    while (committed < 2) std::this_thread::yield();
    inner[own] = work[1 - own].wait_until_completed();
    ++returned;
  };
  for (std::uint32_t i : {0U, 1U}) {
    auto e = value(devices[i].command_encoder());
    ok(run(e, calling_with_constant_kernel, {value(devices[i].alloc(DType::i32, {1}))}, 1, i));
    work[i] = value(e.commit(i == 0 ? "here" : "there"));
    ++committed;
  }
  for (const std::uint32_t i : {0U, 1U}) {
    const auto outer = work[i].wait_until_completed();
    if (outer) continue;  // the other device's wait had timed out before, and let this one's kernel go on
    EXPECT_EQ(outer.error().code, Errc::timeout) << outer.error().str();
  }
  while (returned < 2) std::this_thread::yield();
  EXPECT_TRUE(!inner[0] || !inner[1]);
  EXPECT_TRUE(devices[0].is_lost() || devices[1].is_lost());
}

TEST(Timeout, MayBeAsLongAsThereIs) {
  using std::chrono::milliseconds;
  for (const auto timeout : {milliseconds::max(), milliseconds::max() - 1ms, milliseconds(INT64_MAX / 1'000'000),
                             milliseconds(INT64_MAX / 1'000'000 - 1)}) {
    Device d = value(Device::open("cpu", {.cpu = {.threads = 2}, .timeout = timeout}));
    const Buffer x = value(d.alloc(DType::i32, {8}));
    auto e = value(d.command_encoder());
    ok(run(e, sleeping_kernel, {x}, 8, 3));
    ok(e.commit_and_wait());
    EXPECT_FALSE(d.is_lost());
  }
}

// Runs f in a child. Its result: the child's exit status, or 128 and more for the signal that ended it.
int in_child(const std::function<int()>& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    ::_exit(f());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct Everything {
  Device device = value(Device::open("cpu", {.cpu = {.threads = 3}, .profile = true}));
  Buffer x = value(device.alloc(DType::i32, {4096}));
  BufferPool pool{device};
  CommandEncoder encoder = value(device.command_encoder());
  EncoderSession session = value(device.encoder_session());
  CommandBuffer committed = [&] {
    ok(run(encoder, add_constant_kernel, {x, x}, 4096, 1));
    return value(encoder.commit());
  }();
};

TEST(Fork, LeavesTheChildErrorsWithAReason) {
  auto all = std::make_unique<Everything>();
  ok(run(all->session.encoder(), add_constant_kernel, {all->x, all->x}, 4096, 1));
  EXPECT_EQ(in_child([&] {
              Everything& a = *all;
              const auto refused = [](const auto& r) {
                return !r && r.error().code == Errc::device_lost && says(r.error().str(), {"before fork()"});
              };
              if (!refused(a.committed.wait_until_completed())) return 1;
              if (!refused(a.device.wait_idle())) return 2;
              if (!refused(a.device.alloc(DType::i32, {8}))) return 3;
              if (!refused(a.device.command_encoder())) return 4;
              if (!refused(a.x.read<std::int32_t>())) return 5;
              if (!refused(a.session.commit_and_wait())) return 6;
              if (!refused(a.pool.acquire(DType::i32, {8}))) return 7;
              if (!refused(a.device.kernel(scale_in_place_kernel))) return 8;
              if (!refused(a.device.write_trace("/dev/null"))) return 9;
              if (!a.device.is_lost()) return 10;
              if (a.device.stats().command_buffers != 0 || a.device.residency_count() != 0) return 11;
              static_cast<void>(a.device.residency());
              static_cast<void>(a.device.profile());
              if (a.session.reset_for_next_stage(); a.session.add_to_residency_set(a.x)) return 12;
              all.reset();
              return 0;
            }),
            0);
  ok(all->session.commit_and_wait());  // the parent's goes on
  EXPECT_EQ(value(all->x.read<std::int32_t>())[0], 2);
}

TEST(Fork, InAKernelLeavesTheChildErrorsWithAReason) {
  for (const std::uint32_t tiles : {1U, 8U}) {
    Device d = value(Device::open("cpu", {.cpu = {.threads = 2}}));
    const Buffer x = value(d.alloc(DType::i32, {8}));
    auto e = value(d.command_encoder());
    CommandBuffer own = e.command_buffer();
    int of_child = -1;
    inside = [&] {
      of_child = in_child([&] {
        const auto refused = [](const auto& r) {
          return !r && r.error().code == Errc::device_lost && says(r.error().str(), {"before fork()"});
        };
        if (!refused(own.wait_until_completed())) return 1;
        if (!refused(d.wait_idle())) return 2;
        if (!refused(d.command_encoder())) return 3;
        if (!refused(x.read<std::int32_t>())) return 4;
        static_cast<void>(d.stats());
        return 0;
      });
    };
    ok(run(e, calling_kernel, {x}, tiles));
    ok(e.commit_and_wait());
    EXPECT_EQ(of_child, 0);
    ok(d.wait_idle());
  }
}

#if !defined(HALYARD_SANITIZED)  // their allocators may be locked at the fork, and TSan starts no threads after one
TEST(Fork, LetsTheChildOpenADeviceOfItsOwn) {
  auto d = std::make_unique<Device>(value(Device::open("cpu", {.cpu = {.threads = 2}})));
  EXPECT_EQ(in_child([&] {
              Everything own;
              return own.committed.wait_until_completed() ? 0 : 1;
            }),
            0);
}

TEST(Fork, AtAnyMomentLetsTheChildDropWhatItHas) {
  auto all = std::make_unique<Everything>();
  std::atomic<bool> over{false};
  std::vector<std::thread> users;
  for (int i = 0; i < 3; ++i)
    users.emplace_back([&, device = all->device]() mutable {
      while (!over) {
        const Buffer b = value(device.alloc(DType::i32, {64}));
        auto e = value(device.command_encoder());
        ok(run(e, add_constant_kernel, {b, b}, 64, 1));
        ok(e.commit_and_wait());
        static_cast<void>(device.stats());
      }
    });
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(in_child([&] {
                if (all->device.wait_idle()) return 1;
                static_cast<void>(all->device.stats());
                all.reset();
                return 0;
              }),
              0);
  over = true;
  for (std::thread& u : users) u.join();
}
#endif

}  // namespace
}  // namespace halyard
