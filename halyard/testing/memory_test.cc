// Memory that runs out: each allocation of a program of public calls fails once. The call says so, changes nothing, and
// succeeds when made again; what completes on other threads completes.
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <random>

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/hal/passes.h"
#include "halyard/hal/pool.h"
#include "halyard/ops/fusion.h"
#include "halyard/ops/ops.h"
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

// Makes a call, and once more where it found no memory. Allocates nothing itself. `expected`: how the call is to fail.
template <class F> void attempt(Outcome& o, int line, const F& call, std::optional<Errc> expected = {}) {
  for (int i = 0; i < 2 && !o.wrong; ++i) {
    try {
      const auto r = call();
      if (r ? !expected : r.error().code == expected) return;
      if (!r && r.error().code == Errc::out_of_memory && i == 0) {
        ++o.errors;
        continue;
      }
      o.wrong = r ? "no error" : "another error";
      if (!r) o.wrong_code = r.error().code;
    } catch (const std::exception&) { o.wrong = "an exception"; }
    o.wrong_line = line;
  }
}

// What two of the kernel do, as one: x = 3 · (3 · x + c) + c.
void scale_twice(const CpuTile& t) {
  scale_in_place(t);
  scale_in_place(t);
}
constexpr CpuForm scale_twice_form = {.select = cpu_form<scale_twice>.select, .launch = [](const LaunchInputs& in) {
                                        return Launch{.grid = {in.sizes[0] / sizeof(std::uint32_t)}, .block = {64}};
                                      }};
const KernelDef scale_twice_kernel = {"test_scale_twice", "x", {&scale_twice_form}};
const FusionRule two_scales = {
    {"test_scale"}, "test_scale", &scale_twice_kernel, [](std::span<const Record> parts) -> std::optional<Joined> {
      if (std::memcmp(parts[0].constants, parts[1].constants, 4) != 0) return {};
      std::uint32_t c;
      std::memcpy(&c, parts[1].constants, 4);
      return Joined{.bindings = {{0, 0}}, .constants = c, .in_place = true};
    }};

// Every public call of the device layer.
class Scenario {
 public:
  Scenario(std::uint64_t n, Allocating whose, DeviceOptions options) : profiled_(options.profile) {
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
    failures(d, s);
    reports(d);
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
    HALYARD_ATTEMPT(HALYARD_TRY(graph->edges()));
    (void)graph->to_json(), (void)graph->to_dot();
    const ComputeGraph same = reorder(remove_dead(*graph));
    if (same.size() != graph->size()) o.wrong = "a pass that changes what it need not";
    HALYARD_ATTEMPT(HALYARD_TRY(plan_memory(same, {})));
    HALYARD_ATTEMPT(HALYARD_TRY(fuse(same, std::span(&two_scales, 1))));
    HALYARD_ATTEMPT(HALYARD_TRY(optimize(*graph, {.scratch = {}, .rules = std::span(&two_scales, 1)})));
    const std::string_view names[] = {place.name};
    HALYARD_ATTEMPT(plan.emplace(HALYARD_TRY(graph->compile(names))));
    if (o.wrong) return;
    for (std::uint64_t i = 0; i < 2; ++i) {
      const PlanParameter values[] = {{place.name, i + 1}};
      HALYARD_ATTEMPT(HALYARD_TRY(e.replay(*plan, values)));
    }
  }

  // Work that fails, in a chain of fences, and is asked about.
  void failures(Device& d, EncoderSession& s) {
    Outcome& o = outcome_;
    s.begin_stage("a stage whose kernel is going to fail");
    HALYARD_ATTEMPT(HALYARD_TRY(run(s.encoder(), failing_kernel, {a_}, elements, std::uint32_t{3})));
    const CommandBuffer first = s.command_buffer();
    HALYARD_ATTEMPT(HALYARD_TRY(s.fence_stage("another label longer than short strings are")));
    HALYARD_ATTEMPT(HALYARD_TRY(s.reset_for_next_stage()));
    CommandBuffer second = s.command_buffer();
    HALYARD_ATTEMPT(HALYARD_TRY(s.commit_stage()));
    attempt(
        o, __LINE__, [&] { return second.wait_until_completed(); }, Errc::dependency_failed);
    attempt(
        o, __LINE__, [&] { return d.wait_idle(); }, Errc::kernel_failed);
    HALYARD_ATTEMPT(HALYARD_TRY(d.wait_idle()));
    if (first.status() != CommandBufferStatus::failed) o.wrong = "a command buffer that did not fail";
    HALYARD_ATTEMPT(HALYARD_TRY(s.reset_for_next_stage()));
    attempt(
        o, __LINE__, [&] { return d.kernel("a name that no kernel has, and a long one"); }, Errc::not_found);
    attempt(
        o, __LINE__, [&] { return a_.view(4, DType::u32, {elements}); }, Errc::invalid_argument);
    attempt(
        o, __LINE__, [&] { return Device::open("a device there is not"); }, Errc::not_found);
  }

  void reports(Device& d) {
    Outcome& o = outcome_;
    HALYARD_ATTEMPT(HALYARD_TRY(d.kernel("test_scale")));
    HALYARD_ATTEMPT(HALYARD_TRY(a_.read<std::uint32_t>()));
    HALYARD_ATTEMPT(HALYARD_TRY(a_.map<std::uint32_t>()));
    (void)d.profile(), (void)d.residency(), (void)d.stats(), (void)Device::list();
    if (profiled_) HALYARD_ATTEMPT(HALYARD_TRY(d.write_trace("/dev/null")));
    std::optional<CommandEncoder> plain;
    HALYARD_ATTEMPT(plain.emplace(HALYARD_TRY(d.command_encoder())));
    if (o.wrong) return;
    HALYARD_ATTEMPT(HALYARD_TRY(plain->commit_and_wait("a label for waiting, longer than short strings are")));
  }

  void pool(Device& d) {
    Outcome& o = outcome_;
    const BufferPool* made = nullptr;
    std::optional<BufferPool> p;
    // The pool itself may be short of memory: its first call says so.
    HALYARD_ATTEMPT(p.emplace(d); made = &*p; const Buffer first = HALYARD_TRY(p->acquire(DType::u8, {1}));
                    HALYARD_TRY(p->release(first)));
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

  bool profiled_;
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

// A layer of a model: its ops, captured, optimised and replayed.
class OpsScenario {
 public:
  explicit OpsScenario(std::uint64_t n) {
    Outcome& o = outcome_;
    const FailNew fail(n);
    HALYARD_ATTEMPT(device_.emplace(HALYARD_TRY(Device::open("cpu", {.cpu = {.threads = 2}}))));
    if (o.wrong) return;
    HALYARD_ATTEMPT(weight_ = HALYARD_TRY(ops::Weight::load(*device_, view_, ops::Precision::fast)));
    HALYARD_ATTEMPT(table_ = HALYARD_TRY(ops::Weight::load(*device_, view_, ops::Precision::exact)));
    alloc(ids_, DType::i32, {rows}), alloc(x_, DType::f32, {rows, width}), alloc(y_, DType::f32, {rows, width});
    alloc(z_, DType::f32, {rows, width}), alloc(norm_, DType::f32, {width}), alloc(best_, DType::i32, {rows});
    alloc(packed_, DType::u8, {ops::packed_bytes(rows, width)}), alloc(positions_, DType::i32, {rows});
    alloc(frequencies_, DType::f64, {8}), alloc(angles_, DType::f32, {rows, 8, 2}),
        alloc(k_, DType::f16, {1, 2, 64, 16});
    alloc(slots_, DType::i32, {rows}), alloc(spans_, DType::i32, {1, 4}), alloc(pages_, DType::i32, {1, 1});
    Buffer heads, turned;
    HALYARD_ATTEMPT(heads = HALYARD_TRY(y_.view(0, DType::f32, {rows, 2, 16})));
    HALYARD_ATTEMPT(turned = HALYARD_TRY(z_.view(0, DType::f32, {rows, 2, 16})));
    HALYARD_ATTEMPT(HALYARD_TRY(norm_.write(std::span<const float>(numbers_).first(width))));
    std::array<std::int32_t, rows> slots;
    std::iota(slots.begin(), slots.end(), 0);
    const std::int32_t span[] = {0, rows, 0, 0};
    HALYARD_ATTEMPT(HALYARD_TRY(slots_.write(std::span<const std::int32_t>(slots))));
    HALYARD_ATTEMPT(HALYARD_TRY(spans_.write(std::span<const std::int32_t>(span))));
    const ops::KvBatch batch = {spans_, pages_};
    std::optional<CommandEncoder> encoder;
    HALYARD_ATTEMPT(encoder.emplace(HALYARD_TRY(device_->command_encoder())));
    if (o.wrong) return;
    CommandEncoder& e = *encoder;
    e.start_capture();
    HALYARD_ATTEMPT(HALYARD_TRY(ops::embedding(e, ids_, table_, x_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::rms_norm(e, x_, norm_, y_, 1e-5F)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::pack_activations(e, y_, packed_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::matmul(e, {y_, packed_}, weight_, z_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::layer_norm(e, z_, norm_, norm_, y_, 1e-5F)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::rope_angles(e, positions_, frequencies_, angles_, 1)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::rope(e, heads, angles_, heads, ops::RopeLayout::half_split)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::kv_append(e, heads, k_, slots_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::attention(e, heads, k_, k_, turned, batch, {})));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::add(e, x_, z_, x_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::silu_mul(e, x_, z_, y_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::softmax(e, y_, z_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::argmax(e, z_, best_)));
    HALYARD_ATTEMPT(HALYARD_TRY(ops::copy(e, z_, y_)));
    attempt(
        o, __LINE__, [&] { return ops::mul(e, x_, ids_, y_); }, Errc::invalid_argument);
    attempt(
        o, __LINE__, [&] { return ops::attention(e, heads, k_, y_, turned, batch, {}); }, Errc::invalid_argument);
    std::optional<ComputeGraph> graph;
    std::optional<Plan> plan;
    HALYARD_ATTEMPT(graph.emplace(HALYARD_TRY(e.take_capture())));
    if (o.wrong) return;
    HALYARD_ATTEMPT(graph.emplace(HALYARD_TRY(optimize(*graph, {.scratch = {}, .rules = ops::fusion_rules()})).graph));
    HALYARD_ATTEMPT(plan.emplace(HALYARD_TRY(graph->compile())));
    if (o.wrong) return;
    HALYARD_ATTEMPT(HALYARD_TRY(e.replay(*plan)));
    HALYARD_ATTEMPT(HALYARD_TRY(e.commit_and_wait()));
    HALYARD_ATTEMPT(result_ = HALYARD_TRY(z_.read<float>()));
    count_ = fail.count();
    failed_ = fail.failed();
  }

  const Outcome& outcome() const { return outcome_; }
  const std::vector<float>& result() const { return result_; }
  std::uint64_t count() const { return count_; }
  bool failed() const { return failed_; }

 private:
  static constexpr std::size_t rows = 4, width = 32;
  void alloc(Buffer& b, DType dtype, const Shape& shape) {
    Outcome& o = outcome_;
    HALYARD_ATTEMPT(b = HALYARD_TRY(device_->alloc(dtype, shape)));
  }
  static std::vector<float> numbers() {
    std::vector<float> v(width * width);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i * 37 % 64) / 64 - 0.5F;
    return v;
  }

  std::vector<float> numbers_ = numbers();
  quant::MatrixView view_ = {.name = "weights with a name that is long",
                             .n = width,
                             .k = width,
                             .data = std::as_bytes(std::span(numbers_)),
                             .scales = {},
                             .biases = {},
                             .owner = std::make_shared<int>()};
  Outcome outcome_;
  std::optional<Device> device_;
  ops::Weight weight_;
  ops::Weight table_;
  Buffer ids_, x_, y_, z_, norm_, best_, packed_, positions_, frequencies_, angles_, k_, slots_, spans_, pages_;
  std::vector<float> result_;
  std::uint64_t count_ = 0;
  bool failed_ = false;
};

TEST(MemoryRunsOut, EachOpSaysSoAndRecordsNothing) {
  const OpsScenario whole(0);
  ASSERT_EQ(whole.outcome().wrong, nullptr) << whole.outcome().wrong << ", line " << whole.outcome().wrong_line;
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE(fmt::format("allocation {}", n));
    const Watchdog watchdog(60);
    const OpsScenario s(n);
    ASSERT_EQ(s.outcome().wrong, nullptr) << s.outcome().wrong << ", line " << s.outcome().wrong_line;
    ASSERT_EQ(s.result(), whole.result());
    if (!s.failed() && n > whole.count() + 20) break;
  }
}

// Ranges as a plain list.
class PlainRanges {
 public:
  bool conflict(std::span<const BufferRange> ranges) const {
    for (const BufferRange& a : all_)
      for (const BufferRange& b : ranges)
        if (a.allocation == b.allocation && a.begin < b.end && b.begin < a.end &&
            (a.role == MemRangeRole::dst || b.role == MemRangeRole::dst))
          return true;
    return false;
  }
  void add(std::span<const BufferRange> ranges) { all_.insert(all_.end(), ranges.begin(), ranges.end()); }
  void reset() { all_.clear(); }

 private:
  std::vector<BufferRange> all_;
};

TEST(MemoryRunsOut, HazardsAreSeenAllTheSame) {
  const std::vector<char> allocations(500);
  for (std::uint64_t n = 1; n <= 60; ++n) {
    SCOPED_TRACE(fmt::format("allocation {}", n));
    std::mt19937_64 random(n);
    MemRanges ranges;
    PlainRanges plain;
    std::uint64_t left = n;  // allocations that go right
    bool failed = false;
    for (int i = 0; i < 800; ++i) {
      std::vector<BufferRange> dispatch(1 + random() % 40);
      for (BufferRange& r : dispatch) {
        const std::uint64_t at = random() % 100000;
        r = {&allocations[random() % allocations.size()], at, at + 16,
             random() % 8 ? MemRangeRole::src : MemRangeRole::dst};
      }
      bool free = false;
      {
        const FailNew fail(failed ? 0 : left);
        free = ranges.place_dispatch(dispatch);
        failed = failed || fail.failed();
        if (!failed) left -= fail.count();
      }
      if (free) ASSERT_FALSE(plain.conflict(dispatch)) << i;
      else plain.reset();
      plain.add(dispatch);
    }
    EXPECT_TRUE(failed);
  }
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

TEST(MemoryRunsOut, EachCallSaysSoAndChangesNothing) { fail_each({.cpu = {.threads = 2}}, Allocating::this_thread); }
TEST(MemoryRunsOut, OnDevicesThatWatchAndProfile) {
  fail_each({.cpu = {.threads = 2}, .timeout = std::chrono::minutes(5), .profile = true}, Allocating::this_thread);
}
TEST(MemoryRunsOut, OnValidatingDevices) {
  fail_each({.cpu = {.threads = 1}, .validate = true, .profile = true}, Allocating::this_thread);
}
TEST(MemoryRunsOut, OnWorkersChangesNothing) {
  fail_each({.cpu = {.threads = 3}, .timeout = std::chrono::minutes(5), .profile = true}, Allocating::other_threads);
}

}  // namespace
}  // namespace halyard
