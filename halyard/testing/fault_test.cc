// Random programs of sessions on a device that fails: each failure is reported by the call or a later wait, with label,
// kernel and cause; what does not depend on it goes right; nothing is left over. Every other one runs out of memory too:
// the call then says so, or what it says of a failure lacks words, and is made again.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/environment.h"
#include "halyard/hal/state.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/fault_driver.h"
#include "halyard/testing/kernels.h"
#include "halyard/testing/sim/sim_driver.h"

namespace halyard {
namespace {

using namespace testing;

constexpr std::uint32_t elements = 256;

// The device goes with its last handle.
void expect_gone(FaultyDevice faulty) {
  const std::weak_ptr<DeviceState> watch = faulty.device.state();
  faulty = {Device(nullptr), nullptr};
  // A worker may still be on its way out of the last command buffer.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!watch.expired() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_TRUE(watch.expired());
}

// A buffer and what all its elements should be.
struct Cell {
  Buffer buffer;
  std::uint32_t value = 0;
  bool known = true;  // no failed work wrote it
};
using CellRef = std::shared_ptr<Cell>;

// What a command buffer should come to.
struct Expected {
  Errc code = {};
  std::vector<std::string> parts;  // of the message; none: it succeeds
  bool failed() const { return !parts.empty(); }
};

void complain(const char* what) { ADD_FAILURE() << what; }

// Most devices are simulated ones: they start no threads.
FaultyDevice open(std::uint64_t seed, const DeviceOptions& options, FaultOdds odds) {
  auto inner = seed % 4 == 0 ? value(open_cpu_driver(options))
                             : make_sim_driver({.seed = seed, .own_plans = true, .on_wrong_memory = complain});
  return open_faulty(std::move(inner), options, seed, odds);
}

class Program {
 public:
  explicit Program(std::uint64_t seed)
      : random_(seed),
        short_of_memory_(seed / 4 % 2 != 0),  // on each kind of device
        faulty_(open(seed, options(),
                     {.allocate = 100, .compile = 200, .kernel = 120, .submission = 60, .plan = 300, .hold = 300})) {}

  // Returns how many failures were injected.
  std::uint64_t run() {
    for (int i = 0; i < 2; ++i) open_session();
    for (int i = 0; i < 80 && !::testing::Test::HasFailure(); ++i) step();
    const std::uint64_t injected = faulty_.driver->count();
    for (std::size_t i = 1; i <= stages_.size(); ++i)
      if (const auto fault = faulty_.driver->fault(i)) in_plans_ += fault->in_plan;
    faulty_.driver->set_odds({});
    fails_ = false;
    finish();
    return injected;
  }
  /// How many calls said that there was no memory where operator new failed.
  std::uint64_t without_memory() const { return without_memory_; }
  /// How many of them were kernels of plans that the driver had made its own.
  std::uint64_t failed_in_plans() const { return in_plans_; }

 private:
  struct Step {
    CellRef from, to;  // `from` is null: scaled in place
    std::uint32_t constant;
    bool parameter = false;  // in a plan: its constant is a replay's value
  };
  // Its handle, and what it holds.
  struct Captured {
    Plan plan;
    std::vector<Step> steps;
    bool has_parameter;
  };
  struct Session {
    EncoderSession session;
    std::vector<Step> steps;              // of the current stage
    std::optional<std::size_t> waits_on;  // the stage whose fence the current one waits for
  };
  struct Stage {
    CommandBuffer buffer;
    std::string label;
    Expected expected;
  };

  // Makes a call, at times with an allocation in it that fails. It changes nothing then, and is made again.
  template <class F, class Again> auto call(const F& f, const Again& again) {
    if (!short_of_memory_ || !fails_ || pick(4) != 0) return f();
    const std::uint64_t n = 1 + pick(24);
    auto r = [&] {
      const FailNew fail(n);
      return f();
    }();
    if (r || r.error().code != Errc::out_of_memory || !r.error().message.empty()) return r;
    ++without_memory_;
    return again();
  }
  template <class F> auto call(const F& f) { return call(f, f); }

  std::size_t pick(std::size_t n) { return random_() % n; }
  DeviceOptions options() {
    DeviceOptions o{.cpu = {.threads = static_cast<int>(1 + random_() % 3)}};
    if (random_() % 2) o.timeout = std::chrono::minutes(5);
    o.profile = random_() % 2;
    return o;
  }

  void open_session() {
    sessions_.push_back({value(call([&] { return faulty_.device.encoder_session(); })), {}, {}});
  }

  void step() {
    switch (pick(15)) {
      case 0:
      case 1: return allocate();
      case 2: return read();
      case 3: return write();
      case 4: return check(pick(stages_.size() + 1));
      case 5:
      case 6: return commit();
      case 7: return rarely();
      case 8: return capture();
      case 9:
      case 10: return replay();
      default: return dispatch();
    }
  }

  void rarely() {
    switch (pick(5)) {
      case 0: cells_.clear(); return;
      case 3: plans_.clear(); return;
      case 1:
        sessions_.erase(sessions_.begin() + static_cast<std::ptrdiff_t>(pick(sessions_.size())));
        return open_session();
      case 2: (void)call([&] { return faulty_.device.wait_idle(); }); return;
      default: return;
    }
  }

  void allocate() {
    auto b = call([&] { return faulty_.device.alloc(DType::u32, {elements}); });
    if (b) {
      cells_.push_back(std::make_shared<Cell>(Cell{*b}));
      return;
    }
    EXPECT_EQ(b.error().code, Errc::out_of_memory);
    EXPECT_NE(b.error().str().find("injected"), std::string::npos) << b.error().str();
  }

  void read() {
    if (cells_.empty()) return;
    compare(*cells_[pick(cells_.size())]);
  }

  void compare(const Cell& c) {
    const auto v = value(call([&] { return c.buffer.read<std::uint32_t>(); }));
    if (c.known) { EXPECT_EQ(v, std::vector<std::uint32_t>(elements, c.value)); }
  }

  void write() {
    if (!cells_.empty()) write(*cells_[pick(cells_.size())]);
  }

  void write(Cell& c) {
    c.value = static_cast<std::uint32_t>(random_());
    c.known = true;
    const std::vector<std::uint32_t> values(elements, c.value);
    ok(call([&] { return c.buffer.write(std::span(values)); }));
  }

  void dispatch() {
    if (cells_.empty()) return;
    Session& s = sessions_[pick(sessions_.size())];
    record(s.session.encoder(), s.steps, false);
  }

  // Records a dispatch, or learns that its kernel does not compile.
  void record(CommandEncoder& e, std::vector<Step>& steps, bool parameter) {
    Step step{.from = pick(2) ? cells_[pick(cells_.size())] : nullptr,
              .to = cells_[pick(cells_.size())],
              .constant = static_cast<std::uint32_t>(pick(100)),
              .parameter = parameter};
    if (parameter) step.constant = 7;  // all places of a parameter are recorded with one value
    if (const auto r = call([&] { return dispatch(e, step); })) {
      steps.push_back(std::move(step));
    } else {
      const KernelDef& def = step.from ? add_constant_kernel : scale_in_place_kernel;
      EXPECT_NE(r.error().str().find(fmt::format("injected: kernel {}", def.name)), std::string::npos)
          << r.error().str();
    }
  }

  static Result<void> dispatch(CommandEncoder& e, const Step& s) {
    const ParameterPlace place{"constant", 0, 4, 1000};
    const Buffer buffers[] = {s.from ? s.from->buffer : s.to->buffer, s.to->buffer};
    return e.dispatch({.kernel = HALYARD_TRY(e.kernel(s.from ? add_constant_kernel : scale_in_place_kernel)),
                       .grid = {elements, 1, 1},
                       .buffers = std::span(buffers).first(s.from ? 2 : 1),
                       .constants = s.constant,
                       .parameters = std::span(&place, s.parameter ? 1 : 0)});
  }

  void capture() {
    if (cells_.empty()) return;
    CommandEncoder& e = sessions_[pick(sessions_.size())].session.encoder();
    std::vector<Step> steps;
    e.start_capture();
    for (std::size_t n = 1 + pick(4); n > 0; --n) record(e, steps, pick(2));
    const ComputeGraph graph = value(call([&] { return e.take_capture(); }));
    ASSERT_EQ(graph.size(), steps.size());
    const std::string_view names[] = {"constant"};
    const bool has = std::any_of(steps.begin(), steps.end(), [](const Step& s) { return s.parameter; });
    Plan plan = value(call([&] { return graph.compile(std::span(names, has ? 1 : 0)); }));
    plans_.push_back({std::move(plan), std::move(steps), has});
  }

  void replay() {
    if (plans_.empty()) return;
    Session& s = sessions_[pick(sessions_.size())];
    replay(s, plans_[pick(plans_.size())], static_cast<std::uint32_t>(pick(1000)));
  }

  void replay(Session& s, const Captured& c, std::uint32_t constant) {
    const PlanParameter values[] = {{"constant", constant}};
    ok(call([&] { return s.session.encoder().replay(c.plan, std::span(values, c.has_parameter ? 1 : 0)); }));
    for (Step step : c.steps) {
      if (step.parameter) step.constant = constant;
      s.steps.push_back(std::move(step));
    }
  }

  void commit() { commit(sessions_[pick(sessions_.size())], pick(3)); }

  // Commits a session's stage in one of three ways and opens the next.
  void commit(Session& s, std::size_t way) {
    Stage stage{
        .buffer = s.session.command_buffer(), .label = fmt::format("stage <{}>", stages_.size()), .expected = {}};
    s.session.begin_stage(stage.label);
    const auto commit = [&] {
      return way == 0 ? s.session.fence_stage() : way == 1 ? s.session.commit_stage() : s.session.commit_and_wait();
    };
    // Where it found no memory for the failure, the work was committed.
    const auto r =
        call(commit, [&] { return s.session.is_drained() ? stage.buffer.wait_until_completed() : commit(); });
    stage.expected = expect(s, stage.label);
    for (const Step& step : s.steps) {
      Cell& to = *step.to;
      to.known = (step.from ? step.from->known : to.known);
      to.value = step.from ? step.from->value + step.constant : to.value * 3 + step.constant;
    }
    if (stage.expected.failed())
      for (const Step& step : s.steps) step.to->known = false;
    s.steps.clear();
    s.waits_on.reset();
    if (way == 2) compare(r, stage.expected);
    else ok(r);
    if (way == 0) s.waits_on = stages_.size();
    stages_.push_back(std::move(stage));
    ok(call([&] { return s.session.reset_for_next_stage(); }));
  }

  // The stage was the last one committed: its number is how many were.
  Expected expect(const Session& s, const std::string& label) const {
    const auto fault = faulty_.driver->fault(stages_.size() + 1);
    if (fault && fault->kernel.empty()) return {Errc::io, {label, "injected failure of the submission"}};
    if (s.waits_on) {
      const Stage& before = stages_[*s.waits_on];
      if (before.expected.failed())
        return {Errc::dependency_failed,
                {label, before.expected.code == Errc::dependency_failed ? before.expected.parts[1] : before.label,
                 before.expected.parts.back()}};  // the first of the chain
    }
    if (fault) return {Errc::kernel_failed, {label, fault->kernel, "injected failure of the"}};
    return {};
  }

  void compare(const Result<void>& r, const Expected& expected) {
    if (!expected.failed()) return ok(r);
    ASSERT_FALSE(r) << expected.parts.front();
    EXPECT_EQ(r.error().code, expected.code) << r.error().str();
    if (short_of_memory_) return;  // for the words, perhaps
    for (const std::string& part : expected.parts)
      EXPECT_NE(r.error().str().find(part), std::string::npos) << r.error().str();
  }

  void check(std::size_t i) {
    if (i >= stages_.size()) return;
    Stage& s = stages_[i];
    compare(call([&] { return s.buffer.wait_until_completed(); }), s.expected);
    EXPECT_EQ(s.buffer.status(), s.expected.failed() ? CommandBufferStatus::failed : CommandBufferStatus::completed);
  }

  // No more failures: all is reported, every session goes on, and in the end nothing is left.
  void finish() {
    for (std::size_t i = 0; i < stages_.size(); ++i) check(i);
    ok(faulty_.device.wait_idle());  // each failure has been returned
    for (const CellRef& c : cells_) compare(*c);
    for (Session& s : sessions_) {
      commit(s, 2);  // what was recorded; it fails if the stage before it did
      replay_all(s);
      cells_ = {std::make_shared<Cell>(Cell{value(faulty_.device.alloc(DType::u32, {elements}))})};
      for (int i = 0; i < 5; ++i) dispatch_to(s, cells_[0]);
      commit(s, 0);
      dispatch_to(s, cells_[0]);
      commit(s, 2);
      EXPECT_FALSE(stages_.back().expected.failed());
      EXPECT_TRUE(cells_[0]->known);
      EXPECT_EQ(value(cells_[0]->buffer.read<std::uint32_t>()), std::vector<std::uint32_t>(elements, cells_[0]->value));
    }
    cells_.clear();
    plans_.clear();
    sessions_.clear();
    EXPECT_EQ(faulty_.device.stats().bytes_allocated, 0U);
    ok(value(faulty_.device.command_encoder()).commit_and_wait());
    EXPECT_EQ(faulty_.device.residency_count(), 0U);
    stages_.clear();
    expect_gone(std::move(faulty_));
  }

  // Plans do what they should, whether or not a replay of theirs has failed before.
  void replay_all(Session& s) {
    std::vector<CellRef> written;
    for (const Captured& c : plans_)
      for (const Step& step : c.steps)
        for (const CellRef& cell : {step.from, step.to})
          if (cell) written.push_back(cell);
    for (const CellRef& c : written) write(*c);
    for (const Captured& c : plans_) replay(s, c, 3), replay(s, c, 999);
    commit(s, 2);
    EXPECT_FALSE(stages_.back().expected.failed());
    for (const CellRef& c : written) {
      EXPECT_TRUE(c->known);
      compare(*c);
    }
  }

  void dispatch_to(Session& s, const CellRef& to) {
    ok(testing::run(s.session.encoder(), scale_in_place_kernel, {to->buffer}, elements, 7U));
    s.steps.push_back({nullptr, to, 7U});
  }

  std::mt19937_64 random_;
  bool short_of_memory_, fails_ = true;
  FaultyDevice faulty_;
  std::vector<CellRef> cells_;
  std::vector<Captured> plans_;
  std::vector<Session> sessions_;
  std::vector<Stage> stages_;
  std::uint64_t in_plans_ = 0, without_memory_ = 0;
};

// HALYARD_FAULT_SEEDS=N runs N seeds, from HALYARD_FAULT_FIRST on.
std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const auto text = environment(variable);
  return text ? std::strtoull(text->c_str(), nullptr, 10) : otherwise;
}

TEST(Faults, AreReportedAndLeaveNothingBehind) {
  const std::uint64_t seeds = number_from("HALYARD_FAULT_SEEDS", 300), first = number_from("HALYARD_FAULT_FIRST", 1);
  std::uint64_t injected = 0, in_plans = 0, without_memory = 0;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE(fmt::format("HALYARD_FAULT_FIRST={} HALYARD_FAULT_SEEDS=1", seed));
    Program program(seed);
    injected += program.run();
    in_plans += program.failed_in_plans();
    without_memory += program.without_memory();
    if (HasFailure()) return;
  }
  if (seeds >= 100) {  // it does inject
    EXPECT_GT(injected, seeds);
    EXPECT_GT(in_plans, seeds / 10);
    EXPECT_GT(without_memory, seeds);
  }
  fmt::print("{} seeds, {} failures injected, {} of them in the driver's form of a plan; {} calls without memory\n",
             seeds, injected, in_plans, without_memory);
}

// Stages that each write memory of their own, one of which never finishes.
class Loss {
 public:
  explicit Loss(std::uint64_t seed)
      : random_(seed),
        faulty_(open(seed,
                     {.cpu = {.threads = static_cast<int>(1 + random_() % 3)}, .timeout = std::chrono::minutes(5)},
                     {.hold = 700, .loss = 500})),
        session_(value(faulty_.device.encoder_session())) {}

  // False where no wait came in its way.
  bool run() {
    for (std::uint32_t i = 0; i < 10 && !stuck(); ++i) {
      commit(i);
      if (random_() % 3 == 0) (void)stages_[random_() % stages_.size()].buffer.wait_until_completed();
    }
    if (!stuck()) (void)faulty_.device.wait_idle();
    const bool lost = stuck() != 0;
    if (lost) check();
    stages_.clear();
    { const EncoderSession dropped = std::move(session_); }
    expect_gone(std::move(faulty_));
    return lost;
  }

 private:
  struct Stage {
    CommandBuffer buffer;
    std::string label;
    Buffer written;
  };
  std::uint64_t stuck() const { return faulty_.driver->stuck(); }

  void record(const Buffer& b, std::uint32_t i) {
    CommandEncoder& e = session_.encoder();
    if (i % 2) return ok(testing::run(e, scale_in_place_kernel, {b}, elements, i));
    e.start_capture();
    ok(testing::run(e, scale_in_place_kernel, {b}, elements, i));
    ok(e.replay(value(value(e.take_capture()).compile())));
  }

  void commit(std::uint32_t i) {
    Stage s{session_.command_buffer(), fmt::format("stage <{}>", i),
            value(faulty_.device.alloc(DType::u32, {elements}))};
    record(s.written, i);
    session_.begin_stage(s.label);
    ok(i % 3 ? session_.fence_stage() : session_.commit_stage());
    ok(session_.reset_for_next_stage());
    stages_.push_back(std::move(s));
  }

  void check() {
    Device& d = faulty_.device;
    EXPECT_TRUE(d.is_lost());
    const std::size_t at = stuck() - 1;
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      Stage& s = stages_[i];
      const auto waited = s.buffer.wait_until_completed();
      const auto read = s.written.read<std::uint32_t>();
      if (i < at) {
        ok(waited);
        EXPECT_EQ(value(read), std::vector<std::uint32_t>(elements, static_cast<std::uint32_t>(i)));
        continue;
      }
      ASSERT_FALSE(waited || read) << i << ", stuck at " << at;
      EXPECT_EQ(waited.error().code, i == at ? Errc::timeout : Errc::device_lost);
      EXPECT_EQ(read.error().code, waited.error().code);
      EXPECT_NE(waited.error().str().find(stages_[at].label), std::string::npos) << waited.error().str();
      EXPECT_EQ(s.buffer.status(), CommandBufferStatus::failed);
      EXPECT_EQ(s.buffer.gpu_time().count(), 0);
    }
    EXPECT_FALSE(d.wait_idle());

    // Host memory may be had and used, submitting is refused, and a session may be dropped all the same.
    Buffer fresh = value(d.alloc(DType::u32, {elements}));
    ok(fresh.write(std::span<const std::uint32_t>(std::vector<std::uint32_t>(elements, 7))));
    EXPECT_EQ(value(fresh.read<std::uint32_t>()).back(), 7U);
    record(fresh, 2);
    for (const auto& r : {session_.commit_stage(), session_.fence_stage(), session_.commit_and_wait()})
      EXPECT_EQ(r.error().code, Errc::device_lost);
    EXPECT_FALSE(session_.is_drained());

    fresh = Buffer();
    stages_.clear();
    { const EncoderSession dropped = std::move(session_); }
    EXPECT_EQ(d.stats().bytes_allocated, elements * 4);  // what the stuck one uses
    faulty_.driver->release();
    EXPECT_EQ(d.stats().bytes_allocated, 0U);
  }

  std::mt19937_64 random_;
  FaultyDevice faulty_;
  EncoderSession session_;
  std::vector<Stage> stages_;
};

TEST(Faults, ALostDeviceSaysSoAndLetsGoOfEverything) {
  const std::uint64_t seeds = number_from("HALYARD_FAULT_SEEDS", 300), first = number_from("HALYARD_FAULT_FIRST", 1);
  std::uint64_t lost = 0;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE(fmt::format("HALYARD_FAULT_FIRST={} HALYARD_FAULT_SEEDS=1", seed));
    lost += Loss(seed).run();
    if (HasFailure()) return;
  }
  if (seeds >= 100) { EXPECT_GT(lost, seeds / 3); }
  fmt::print("{} seeds, {} devices lost\n", seeds, lost);
}

TEST(Faults, DependOnTheSeedAlone) {
  const auto pattern = [](std::uint64_t seed) {
    FaultyDevice f = open_faulty(make_sim_driver({}), {}, seed, {.allocate = 500});
    std::string out;
    for (int i = 0; i < 64; ++i) out += f.device.alloc(DType::u8, {1}) ? '.' : 'x';
    return out;
  };
  EXPECT_EQ(pattern(1), pattern(1));
  EXPECT_NE(pattern(1), pattern(2));
}

}  // namespace
}  // namespace halyard
