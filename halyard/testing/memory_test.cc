// Memory that runs out: each allocation of a program of public calls fails once. The call says so, changes nothing, and
// succeeds when made again; what completes on other threads completes. Disabled: the device layer does not do so yet.
#include <chrono>
#include <exception>
#include <optional>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/hal/pool.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

constexpr std::uint32_t elements = 256;

// Ends the test program where a call hangs.
class Watchdog {
 public:
  explicit Watchdog(unsigned seconds) { ::alarm(seconds); }
  ~Watchdog() { ::alarm(0); }
};

// What one run did.
struct Outcome {
  std::uint64_t errors = 0;  // calls that said that there is no memory
  const char* wrong = nullptr;
  int wrong_line = 0;
  Errc wrong_code = {};
  Stats stats;
  std::vector<std::uint32_t> a, b;
};

// Makes a call, and once more where it found no memory. Allocates nothing itself.
template <class F> void attempt(Outcome& o, int line, const F& call) {
  for (int i = 0; i < 2 && !o.wrong; ++i) {
    try {
      const auto r = call();
      if (r) return;
      if (r.error().code == Errc::out_of_memory && i == 0) {
        ++o.errors;
        continue;
      }
      o.wrong = "another error";
      o.wrong_code = r.error().code;
    } catch (const std::exception&) { o.wrong = "an exception"; }
    o.wrong_line = line;
  }
}

// Every public call of the device layer that returns a Result.
class Scenario {
 public:
  Scenario(std::uint64_t n, Allocating whose, DeviceOptions options) {
    Outcome& o = outcome_;
    std::optional<FailNew> fail(std::in_place, n, whose);
#define HALYARD_ATTEMPT(...)                   \
  attempt(o, __LINE__, [&]() -> Result<void> { \
    __VA_ARGS__;                               \
    return {};                                 \
  })
    HALYARD_ATTEMPT(device_.emplace(HALYARD_TRY(Device::open("cpu", options))));
    if (o.wrong) return;
    Device& d = *device_;
    const KernelDef* const known[] = {&add_constant_kernel};
    HALYARD_ATTEMPT(HALYARD_TRY(d.register_kernels(known)));
    HALYARD_ATTEMPT(a_ = HALYARD_TRY(d.alloc(DType::u32, {elements})));
    HALYARD_ATTEMPT(b_ = HALYARD_TRY(d.alloc(DType::u32, {elements})));
    const auto ones = std::span<const std::uint32_t>(ones_);
    HALYARD_ATTEMPT(HALYARD_TRY(a_.write(ones)));
    HALYARD_ATTEMPT(HALYARD_TRY(b_.write(ones)));
    HALYARD_ATTEMPT(imported_ = HALYARD_TRY(d.import_host(a_.allocation(), ones_, DType::u32, {elements})));
    HALYARD_ATTEMPT(session_.emplace(HALYARD_TRY(d.encoder_session())));
    if (o.wrong) return;
    EncoderSession& s = *session_;
    CommandEncoder& e = s.encoder();

    s.begin_stage("a label that is longer than short strings are");
    for (std::uint32_t i = 0; i < 3; ++i) scale(e, a_, i);
    e.memory_barrier();
    // So many pieces of one buffer that hazards need a tree of them.
    for (std::uint32_t i = 0; i < 32; ++i) {
      Buffer piece;
      HALYARD_ATTEMPT(piece = HALYARD_TRY(b_.view(std::size_t{4} * (i % 2 ? 255 - i : i), DType::u32, {1})));
      HALYARD_ATTEMPT(HALYARD_TRY(run(e, scale_in_place_kernel, {piece}, 1, i)));
    }
    HALYARD_ATTEMPT(HALYARD_TRY(s.fence_stage()));
    HALYARD_ATTEMPT(HALYARD_TRY(s.reset_for_next_stage()));
    s.add_to_residency_set(imported_);
    s.remove_from_residency_set(a_);
    scale(e, a_, 5);
    HALYARD_ATTEMPT(HALYARD_TRY(s.commit_stage()));
    HALYARD_ATTEMPT(HALYARD_TRY(s.reset_for_next_stage()));
    s.add_to_residency_set(a_);
    s.remove_from_residency_set(imported_);

    capture_and_replay(d, e);
    HALYARD_ATTEMPT(HALYARD_TRY(s.commit_and_wait()));
    HALYARD_ATTEMPT(HALYARD_TRY(s.reset_for_next_stage()));

    pool(d);
    {
      std::optional<CommandEncoder> plain;
      HALYARD_ATTEMPT(plain.emplace(HALYARD_TRY(d.command_encoder({Hazards::manual}))));
      if (o.wrong) return;
      scale(*plain, b_, 9);
      HALYARD_ATTEMPT(HALYARD_TRY(plain->commit("another label longer than short strings are")));
    }
    HALYARD_ATTEMPT(HALYARD_TRY(d.wait_idle()));
    o.stats = d.stats();
    count_ = fail->count();
    failed_ = fail->failed();
    fail.reset();
    if (o.wrong) return;
    o.a = value(a_.read<std::uint32_t>());
    o.b = value(b_.read<std::uint32_t>());
  }

  const Outcome& outcome() const { return outcome_; }
  std::uint64_t count() const { return count_; }
  bool failed() const { return failed_; }

  // Nothing is left when all handles but the device's are gone.
  void expect_empty() {
    session_.reset();
    a_ = b_ = imported_ = {};
    EXPECT_EQ(device_->stats().bytes_allocated, 0U);
    ok(value(device_->command_encoder()).commit_and_wait());
    EXPECT_EQ(device_->residency_count(), 0U);
  }

 private:
  void scale(CommandEncoder& e, const Buffer& x, std::uint32_t c) {
    Outcome& o = outcome_;
    HALYARD_ATTEMPT(HALYARD_TRY(run(e, scale_in_place_kernel, {x}, elements, c)));
  }

  void capture_and_replay(Device& d, CommandEncoder& e) {
    Outcome& o = outcome_;
    e.start_capture();
    const ParameterPlace place{"a parameter with a long name", 0, 4, 1000};
    for (std::uint32_t i = 0; i < 4; ++i) {
      const Buffer buffers[] = {i % 2 ? a_ : b_};
      HALYARD_ATTEMPT(const KernelRef scaling = HALYARD_TRY(d.kernel("test_scale"));
                      HALYARD_TRY(e.dispatch({.kernel = scaling,
                                              .grid = {elements, 1, 1},
                                              .buffers = buffers,
                                              .constants = std::uint32_t{7},
                                              .parameters = std::span(&place, 1)})));
    }
    std::optional<ComputeGraph> graph;
    std::optional<Plan> plan;
    HALYARD_ATTEMPT(graph.emplace(HALYARD_TRY(e.take_capture())));
    if (o.wrong) return;
    const std::string_view names[] = {place.name};
    HALYARD_ATTEMPT(plan.emplace(HALYARD_TRY(graph->compile(names))));
    if (o.wrong) return;
    for (std::uint64_t i = 0; i < 2; ++i) {
      const PlanParameter values[] = {{place.name, i + 1}};
      HALYARD_ATTEMPT(HALYARD_TRY(e.replay(*plan, values)));
    }
  }

  void pool(Device& d) {
    Outcome& o = outcome_;
    const BufferPool* made = nullptr;
    std::optional<BufferPool> p;
    HALYARD_ATTEMPT(p.emplace(d); made = &*p);
    if (!made) return;
    for (int i = 0; i < 2; ++i) {
      Buffer x, y;
      HALYARD_ATTEMPT(x = HALYARD_TRY(p->acquire(DType::f32, {100})));
      HALYARD_ATTEMPT(y = HALYARD_TRY(p->acquire(DType::f32, {1000})));
      HALYARD_ATTEMPT(HALYARD_TRY(p->release(x)));
      HALYARD_ATTEMPT(HALYARD_TRY(p->release(y)));
    }
    if (!o.wrong && p->stats().bytes_out != 0) o.wrong = "a pool that counts memory as out";
    p->trim();
    if (!o.wrong && p->stats().bytes_held != 0) o.wrong = "a pool that counts memory as held";
  }

  std::uint32_t ones_[elements] = {};
  Outcome outcome_;
  std::optional<Device> device_;
  Buffer a_, b_, imported_;
  std::optional<EncoderSession> session_;
  std::uint64_t count_ = 0;
  bool failed_ = false;
};

void expect_same(const Outcome& got, const Outcome& expected) {
  ASSERT_EQ(got.wrong, nullptr) << got.wrong << ", line " << got.wrong_line << ": " << to_string(got.wrong_code);
  EXPECT_EQ(got.a, expected.a);
  EXPECT_EQ(got.b, expected.b);
  EXPECT_EQ(got.stats.command_buffers, expected.stats.command_buffers);
  EXPECT_EQ(got.stats.dispatches, expected.stats.dispatches);
  EXPECT_EQ(got.stats.explicit_barriers, expected.stats.explicit_barriers);
  EXPECT_EQ(got.stats.auto_barriers + got.stats.concurrent_dispatches,
            expected.stats.auto_barriers + expected.stats.concurrent_dispatches);
  EXPECT_EQ(got.stats.syncs, expected.stats.syncs);
  EXPECT_EQ(got.stats.kernels_compiled, expected.stats.kernels_compiled);
  EXPECT_EQ(got.stats.bytes_allocated, expected.stats.bytes_allocated);
}

void fail_each(const DeviceOptions& options, Allocating whose) {
  const Scenario whole(0, whose, options);
  std::uint64_t errors = 0, failures = 0, n = 1;
  for (;; ++n) {
    SCOPED_TRACE(fmt::format("allocation {}", n));
    const Watchdog watchdog(60);
    Scenario s(n, whose, options);
    expect_same(s.outcome(), whole.outcome());
    if (::testing::Test::HasFailure()) return;
    s.expect_empty();
    errors += s.outcome().errors;
    failures += s.failed();
    if (::testing::Test::HasFailure()) return;
    if (!s.failed() && n > whole.count() + 20) break;
  }
  fmt::print("{} allocations failed, {} calls said so\n", failures, errors);
  if (whose == Allocating::this_thread) { EXPECT_GT(errors, 100U); }
}

TEST(DISABLED_MemoryRunsOut, EachCallSaysSoAndChangesNothing) { fail_each({.threads = 2}, Allocating::this_thread); }
TEST(DISABLED_MemoryRunsOut, OnDevicesThatWatchAndProfile) {
  fail_each({.threads = 2, .timeout = std::chrono::minutes(5), .profile = true}, Allocating::this_thread);
}
TEST(DISABLED_MemoryRunsOut, OnValidatingDevices) {
  fail_each({.threads = 1, .validate = true, .profile = true}, Allocating::this_thread);
}
TEST(DISABLED_MemoryRunsOut, OnWorkersChangesNothing) {
  fail_each({.threads = 3, .timeout = std::chrono::minutes(5), .profile = true}, Allocating::other_threads);
}

}  // namespace
}  // namespace halyard
