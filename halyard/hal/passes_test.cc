#include "halyard/hal/passes.h"

#include <cstdlib>
#include <functional>
#include <random>
#include <string>

#include <fmt/format.h>

#include "halyard/base/environment.h"
#include "halyard/hal/recording.h"
#include "halyard/testing/kernels.h"
#include "halyard/testing/sim/random.h"

namespace halyard {
namespace {

using namespace testing;
using Byte = std::uint8_t;

// ---------------------------------------------------------------------------------------------------------- kernels
// Byte by byte, so that windows may begin anywhere; tiles of 8 on several threads, so that what must not run side by side
// shows. The constants of a fused kernel are those of its parts, one after the other.

Byte low(std::uint64_t v) { return static_cast<Byte>(v & 255U); }
struct One {
  std::uint32_t c;
};
struct Two {
  std::uint32_t c, d;
};

template <class F> void each(const CpuTile& t, F f) {
  for (std::uint64_t i = t.x0; i < t.x1; ++i) f(i);
}
unsigned at(const CpuTile& t, int binding, std::uint64_t i) { return t.as<Byte>(static_cast<std::size_t>(binding))[i]; }

void fill(const CpuTile& t) {
  each(t, [&](auto i) { t.as<Byte>(0)[i] = low(t.constants_as<One>().c + 7 * i); });
}
void bump(const CpuTile& t) {
  each(t, [&](auto i) { t.as<Byte>(0)[i] = low(3 * at(t, 0, i) + t.constants_as<One>().c); });
}
void copy(const CpuTile& t) {
  each(t, [&](auto i) { t.as<Byte>(1)[i] = low(at(t, 0, i) + t.constants_as<One>().c); });
}
void mirror(const CpuTile& t) {
  each(t, [&](auto i) { t.as<Byte>(1)[i] = low(3 * at(t, 0, t.grid.x - 1 - i) + t.constants_as<One>().c); });
}
void mix(const CpuTile& t) {
  each(t, [&](auto i) { t.as<Byte>(2)[i] = low(3 * at(t, 0, i) + 5 * at(t, 1, i) + t.constants_as<One>().c); });
}
void gather(const CpuTile& t) {
  each(t, [&](auto i) { t.as<Byte>(1)[i] = low(5 * at(t, 1, i) + at(t, 0, i) + t.constants_as<One>().c); });
}

void copy_copy(const CpuTile& t) {
  each(t, [&](auto i) { t.as<Byte>(1)[i] = low(at(t, 0, i) + t.constants_as<Two>().c + t.constants_as<Two>().d); });
}
void mirror_copy(const CpuTile& t) {
  each(t, [&](auto i) {
    t.as<Byte>(1)[i] = low(3 * at(t, 0, t.grid.x - 1 - i) + t.constants_as<Two>().c + t.constants_as<Two>().d);
  });
}
void bump_copy(const CpuTile& t) {
  bump(t);
  each(t, [&](auto i) { t.as<Byte>(1)[i] = low(at(t, 0, i) + t.constants_as<Two>().d); });
}
void copy_gather(const CpuTile& t) {
  each(t, [&](auto i) {
    t.as<Byte>(1)[i] = low(5 * at(t, 1, i) + low(at(t, 0, i) + t.constants_as<Two>().c) + t.constants_as<Two>().d);
  });
}
void copy_mirror(const CpuTile& t) {  // writes what is between, too
  const auto c = t.constants_as<Two>();
  each(t, [&](auto i) {
    t.as<Byte>(1)[i] = low(at(t, 0, i) + c.c);
    t.as<Byte>(2)[i] = low(3 * low(at(t, 0, t.grid.x - 1 - i) + c.c) + c.d);
  });
}
void copies_mix(const CpuTile& t) {
  struct Three {
    std::uint32_t a, b, c;
  };
  const auto c = t.constants_as<Three>();
  each(t, [&](auto i) { t.as<Byte>(2)[i] = low(3 * (at(t, 0, i) + c.a) + 5 * (at(t, 1, i) + c.b) + c.c); });
}

void mix_copy(const CpuTile& t) {  // writes what is between, too
  const auto c = t.constants_as<Two>();
  each(t, [&](auto i) {
    const Byte between = low(3 * at(t, 0, i) + 5 * at(t, 1, i) + c.c);
    t.as<Byte>(2)[i] = between;
    t.as<Byte>(3)[i] = low(between + c.d);
  });
}

constexpr Grid tile = {8, 1, 1};
/// As many work-items as the last window has bytes.
template <CpuKernelFn fn>
constexpr CpuForm fused_form = {.select = cpu_form<fn>.select, .launch = [](const LaunchInputs& in) {
                                  return Launch{.grid = {in.sizes.back()}, .block = tile};
                                }};
const KernelDef fill_kernel = {"t_fill", "w", {&cpu_form<fill, tile>}};
const KernelDef bump_kernel = {"t_bump", "x", {&cpu_form<bump, tile>}};
const KernelDef copy_kernel = {"t_copy", "rw", {&cpu_form<copy, tile>}};
const KernelDef mirror_kernel = {"t_mirror", "rw", {&cpu_form<mirror, tile>}};
const KernelDef mix_kernel = {"t_mix", "rrw", {&cpu_form<mix, tile>}};
const KernelDef gather_kernel = {"t_gather", "rx", {&cpu_form<gather, tile>}};
const KernelDef copy_copy_kernel = {"t_copy_copy", "rw", {&fused_form<copy_copy>}};
const KernelDef mirror_copy_kernel = {"t_mirror_copy", "rw", {&fused_form<mirror_copy>}};
const KernelDef bump_copy_kernel = {"t_bump_copy", "xw", {&fused_form<bump_copy>}};
const KernelDef copy_gather_kernel = {"t_copy_gather", "rx", {&fused_form<copy_gather>}};
const KernelDef copy_mirror_kernel = {"t_copy_mirror", "rww", {&fused_form<copy_mirror>}};
const KernelDef copies_mix_kernel = {"t_copies_mix", "rrw", {&fused_form<copies_mix>}};
const KernelDef fused_bump_kernel = {"t_fused_bump", "x", {&fused_form<bump>}};
const KernelDef mix_copy_kernel = {"t_mix_copy", "rrww", {&fused_form<mix_copy>}};
const KernelDef* const kKernels[] = {&fill_kernel,   &bump_kernel, &copy_kernel,
                                     &mirror_kernel, &mix_kernel,  &gather_kernel};

// ------------------------------------------------------------------------------------------------------------ rules

using Fused = std::optional<Joined>;
using Parts = std::span<const Record>;

std::uint32_t constant_of(const Record& r) { return *reinterpret_cast<const std::uint32_t*>(r.constants); }

/// A rule of one producer whose value, its last binding, is the consumer's first.
Fused pair(Parts p, std::vector<Joined::From> bindings) {
  const Binding& between = p[0].bindings[p[0].kernel->def->access.size() - 1];
  if (between != p[1].bindings[0]) return {};
  return Joined{.bindings = std::move(bindings),
                .constants = Two{constant_of(p[0]), constant_of(p[1])},
                .constants_at = {0U, 4U}};
}
Fused join_ends(Parts p) { return pair(p, {{0, 0}, {1, 1}}); }
Fused join_copy_mirror(Parts p) { return pair(p, {{0, 0}, {0, 1}, {1, 1}}); }
Fused join_mix_copy(Parts p) {
  Fused f = pair(p, {{0, 0}, {0, 1}, {0, 2}, {1, 1}});
  if (f) f->in_place = true;
  return f;
}
Fused join_copies_mix(Parts p) {
  if (p[0].bindings[1] != p[2].bindings[0] || p[1].bindings[1] != p[2].bindings[1]) return {};
  struct Three {
    std::uint32_t a, b, c;
  };
  return Joined{.bindings = {{0, 0}, {1, 0}, {2, 2}},
                .constants = Three{constant_of(p[0]), constant_of(p[1]), constant_of(p[2])},
                .constants_at = {0U, 4U, 8U}};
}
const std::vector<FusionRule> kRules = {{{"t_copy"}, "t_copy", &copy_copy_kernel, join_ends},
                                        {{"t_mirror"}, "t_copy", &mirror_copy_kernel, join_ends},
                                        {{"t_bump"}, "t_copy", &bump_copy_kernel, join_ends},
                                        {{"t_mix"}, "t_copy", &mix_copy_kernel, join_mix_copy},
                                        {{"t_copy"}, "t_gather", &copy_gather_kernel, join_ends},
                                        {{"t_copy"}, "t_mirror", &copy_mirror_kernel, join_copy_mirror},
                                        {{"t_copy", "t_copy"}, "t_mix", &copies_mix_kernel, join_copies_mix}};

// --------------------------------------------------------------------------------------------------------- programs

struct Window {
  std::uint32_t buffer, begin, bytes;
  friend bool operator==(const Window&, const Window&) = default;
};
bool overlap(const Window& a, const Window& b) {
  return a.buffer == b.buffer && a.begin < b.begin + b.bytes && b.begin < a.begin + a.bytes;
}
struct Call {
  const KernelDef* kernel;
  std::vector<Window> windows;
  std::uint32_t constant;
  bool parameter;  // the constant is the parameter "c"
};
struct Program {
  std::vector<std::uint32_t> sizes;
  std::vector<Window> scratch;
  std::vector<Call> calls;
};

constexpr std::uint32_t kRecorded = 77;  // the parameter's value in the recording

/// Programs whose windows like to be those of calls just before, and whose scratch is written before it is read.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {
    for (std::uint32_t n = 2 + random_.below(4); n > 0; --n) program_.sizes.push_back(16 + random_.below(200));
    for (std::uint32_t b = 0; b < program_.sizes.size(); ++b) {
      const std::uint32_t size = program_.sizes[b];
      defined_.emplace_back(size, true);
      if (random_.one_in(3)) continue;
      Window w{b, 0, size};
      if (random_.one_in(3)) w = random_window(b, 1 + random_.below(size));
      program_.scratch.push_back(w);
      std::fill_n(defined_[b].begin() + w.begin, w.bytes, false);
    }
    for (std::uint32_t n = 1 + random_.below(24); n > 0; --n) add();
  }
  const Program& program() const { return program_; }

 private:
  Window random_window(std::uint32_t buffer, std::uint32_t bytes) {
    return {buffer, random_.below(program_.sizes[buffer] - bytes + 1), bytes};
  }
  /// Often one of the last calls', sometimes cut or moved a little.
  Window some_window(std::uint32_t bytes) {
    if (!recent_.empty() && !random_.one_in(3)) {
      Window w = recent_[recent_.size() - 1 - random_.below(std::min<std::size_t>(recent_.size(), 6))];
      if (w.bytes == bytes) return w;
      if (w.begin + bytes <= program_.sizes[w.buffer]) return {w.buffer, w.begin, bytes};
    }
    const std::uint32_t b = random_.below(program_.sizes.size());
    return random_window(b, std::min(bytes, program_.sizes[b]));
  }
  bool is_defined(const Window& w) const {
    const auto begin = defined_[w.buffer].begin() + w.begin;
    return std::all_of(begin, begin + w.bytes, [](bool d) { return d; });
  }
  /// Whether tiles may run in any order: what is written is apart from what is read, or the same element by element.
  static bool is_race_free(const Call& c) {
    const Window& out = c.windows.back();
    return std::none_of(c.windows.begin(), c.windows.end() - 1,
                        [&](const Window& w) { return overlap(w, out) && (w != out || c.kernel == &mirror_kernel); });
  }
  void add() {
    for (int attempt = 0; attempt < 50; ++attempt) {
      Call c{kKernels[random_.below(std::size(kKernels))], {}, random_.below(256), random_.one_in(4)};
      if (c.parameter) c.constant = kRecorded;
      std::uint32_t bytes = random_.one_in(12) ? 0 : 1 + random_.below(40);
      if (!recent_.empty() && !random_.one_in(3)) bytes = recent_.back().bytes;
      const AccessList& access = c.kernel->access;
      bool good = true;
      // Often a chain: it reads what the last call wrote.
      const bool chain = access[0] == Access::read && !program_.calls.empty() && random_.below(2);
      if (chain) bytes = program_.calls.back().windows.back().bytes;
      for (std::size_t i = 0; i < access.size() && good; ++i) {
        c.windows.push_back(chain && i == 0 ? program_.calls.back().windows.back() : some_window(bytes));
        good = c.windows.back().bytes == bytes && (access[i] == Access::write || is_defined(c.windows.back()));
      }
      if (!good || !is_race_free(c)) continue;
      const Window& out = c.windows.back();
      std::fill_n(defined_[out.buffer].begin() + out.begin, out.bytes, true);
      recent_.insert(recent_.end(), c.windows.begin(), c.windows.end());
      program_.calls.push_back(std::move(c));
      return;
    }
  }

  Random random_;
  Program program_;
  std::vector<std::vector<bool>> defined_;
  std::vector<Window> recent_;
};

Buffer view(const std::vector<Buffer>& buffers, const Window& w) {
  return value(buffers[w.buffer].view(w.begin, DType::u8, {w.bytes}));
}

struct Captured {
  std::vector<Buffer> buffers;
  Scratch scratch;
  ComputeGraph graph;
};

Captured capture(Device d, const Program& p) {
  std::vector<Buffer> buffers;
  for (const auto bytes : p.sizes) buffers.push_back(value(d.alloc(DType::u8, {bytes})));
  auto e = value(d.command_encoder());
  e.start_capture();
  for (const Call& c : p.calls) {
    std::vector<Buffer> bound;
    for (const Window& w : c.windows) bound.push_back(view(buffers, w));
    const ParameterPlace place[] = {{"c", 0, 4, 255}};
    ok(e.dispatch({.kernel = value(e.kernel(*c.kernel)),
                   .grid = {c.windows.back().bytes},
                   .buffers = bound,
                   .constants = One{c.constant},
                   .parameters = std::span(place, c.parameter ? 1 : 0)}));
  }
  Scratch scratch;
  for (const Window& w : p.scratch) scratch.windows.push_back(view(buffers, w));
  return {buffers, scratch, value(e.take_capture())};
}

/// The bytes that are not scratch after a replay, from memory that is filled by `seed` (scratch with anything).
std::vector<std::vector<Byte>> replay(Device d, const Program& p, std::vector<Buffer> buffers, const Plan& plan,
                                      std::optional<std::uint32_t> parameter, std::uint64_t garbage) {
  Random contents(1), rest(garbage);
  for (std::uint32_t b = 0; b < buffers.size(); ++b) {
    std::vector<Byte> bytes(p.sizes[b]);
    for (Byte& x : bytes) x = low(static_cast<unsigned>(contents()));
    for (const Window& w : p.scratch)
      for (std::uint32_t i = 0; w.buffer == b && i < w.bytes; ++i)
        bytes[w.begin + i] = low(static_cast<unsigned>(rest()));
    ok(buffers[b].write<Byte>(bytes));
  }
  auto e = value(d.command_encoder());
  const PlanParameter values[] = {{"c", parameter.value_or(0)}};
  ok(e.replay(plan, std::span(values, parameter ? 1 : 0)));
  ok(e.commit_and_wait());
  std::vector<std::vector<Byte>> after;
  for (std::uint32_t b = 0; b < buffers.size(); ++b) {
    after.push_back(value(buffers[b].read<Byte>()));
    for (const Window& w : p.scratch)
      if (w.buffer == b) std::fill_n(after.back().begin() + w.begin, w.bytes, Byte{0});
  }
  return after;
}

struct State {
  ComputeGraph graph;
  Scratch scratch;
};
struct Pass {
  const char* name;
  std::function<State(const State&)> run;
};
State planned(Result<PlannedGraph> p) {
  PlannedGraph g = value(std::move(p));
  return {g.graph, g.scratch};
}
const std::vector<Pass> kPasses = {
    {"remove_dead",
     [](const State& s) {
       return State{remove_dead(s.graph, s.scratch), s.scratch};
     }},
    {"reorder",
     [](const State& s) {
       return State{reorder(s.graph), s.scratch};
     }},
    {"fuse",
     [](const State& s) {
       return State{value(fuse(s.graph, kRules, s.scratch)), s.scratch};
     }},
    {"plan_memory", [](const State& s) { return planned(plan_memory(s.graph, s.scratch)); }},
    {"plan_memory without sharing",
     [](const State& s) { return planned(plan_memory(s.graph, s.scratch, {Sharing::none})); }},
    {"optimize",
     [](const State& s) {
       return planned(optimize(s.graph, {s.scratch, kRules}));
     }},
};

class Property {
 public:
  Property(Device d, std::uint64_t seed)
      : d_(d), program_(Generator(seed).program()), captured_(capture(d, program_)), random_(seed) {
    const auto& places = captured_.graph.recording().places;
    has_parameter_ = !places.empty();
    for (const std::uint32_t v : {kRecorded, 200U}) expected_.push_back(results(captured_.graph, v));
  }
  State start() const { return {captured_.graph, captured_.scratch}; }
  /// Whether `s` leaves the same bytes as the recording, needs no more barriers, and takes the same parameter.
  void check(const State& s, std::size_t barriers) {
    EXPECT_LE(s.graph.barriers(), barriers);
    for (const std::size_t i : {0, 1}) {
      EXPECT_TRUE(results(s.graph, i ? 200 : kRecorded) == expected_[i]) << "from\n"
                                                                         << captured_.graph.to_json() << "\nto\n"
                                                                         << s.graph.to_json();
      if (!has_parameter_) break;
    }
  }
  std::uint32_t below(std::size_t n) { return random_.below(n); }

 private:
  using Results = std::vector<std::vector<std::vector<Byte>>>;
  /// Of two replays.
  Results results(const ComputeGraph& graph, std::uint32_t v) {
    constexpr std::string_view names[] = {"c"};
    const Plan plan = value(graph.compile(std::span(names, has_parameter_ ? 1 : 0)));
    const auto parameter = has_parameter_ ? std::optional(v) : std::nullopt;
    Results r;
    for (int i = 0; i < 2; ++i) r.push_back(replay(d_, program_, captured_.buffers, plan, parameter, random_()));
    return r;
  }

  Device d_;
  Program program_;
  Captured captured_;
  Random random_;
  bool has_parameter_ = false;
  std::vector<Results> expected_;
};

/// HALYARD_PASSES_SEEDS programs, from a random seed or HALYARD_SEED.
struct Seeds {
  static std::uint64_t number(const char* name, std::uint64_t otherwise) {
    const auto text = environment(name);
    return text ? std::strtoull(text->c_str(), nullptr, 10) : otherwise;
  }
  std::uint64_t first = number("HALYARD_SEED", std::random_device{}());
  std::uint64_t count = number("HALYARD_PASSES_SEEDS", 300);
};

TEST(Passes, EachLeavesTheBytesOfTheRecordedOrderAndNoMoreBarriers) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 3}}));
  const Seeds seeds;
  std::size_t dead = 0, fused = 0, barriers = 0;
  for (std::uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    SCOPED_TRACE(fmt::format("HALYARD_SEED={} HALYARD_PASSES_SEEDS=1", seed));
    Property property(d, seed);
    const State start = property.start();
    for (const Pass& pass : kPasses) {
      SCOPED_TRACE(pass.name);
      const State done = pass.run(start);
      property.check(done, start.graph.barriers());
      if (pass.name == std::string_view("remove_dead")) dead += start.graph.size() - done.graph.size();
      if (pass.name == std::string_view("fuse")) fused += start.graph.size() - done.graph.size();
      if (pass.name == std::string_view("reorder")) barriers += start.graph.barriers() - done.graph.barriers();
    }
    if (::testing::Test::HasFailure()) return;
  }
  // The programs give each pass something to do.
  if (seeds.count >= 100) {
    EXPECT_GT(dead, seeds.count / 4);
    EXPECT_GT(fused, seeds.count / 8) << "dispatches";
    EXPECT_GT(barriers, seeds.count / 8);
  }
}

TEST(Passes, AnySequenceOfThemDoesToo) {
  Device d = value(Device::open("cpu", {.cpu = {.threads = 3}}));
  const Seeds seeds;
  for (std::uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    Property property(d, seed);
    State s = property.start();
    std::string names = fmt::format("HALYARD_SEED={} HALYARD_PASSES_SEEDS=1", seed);
    for (std::uint32_t n = 2 + property.below(4); n > 0; --n) {
      const Pass& pass = kPasses[property.below(kPasses.size())];
      names += fmt::format(", {}", pass.name);
      SCOPED_TRACE(names);
      const std::size_t barriers = s.graph.barriers();
      s = pass.run(s);
      property.check(s, barriers);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// ------------------------------------------------------------------------------------------------- one at a time

/// Records calls over buffers of 128 bytes named by letters, windows as {buffer, begin, bytes}.
class Passes : public ::testing::Test {
 protected:
  static constexpr std::uint32_t a = 0, b = 1, c = 2, d = 3, e = 4;
  Device device = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  Program program{{128, 128, 128, 128, 128}, {}, {}};

  static Window all(std::uint32_t buffer) { return {buffer, 0, 128}; }
  static Window low_half(std::uint32_t buffer) { return {buffer, 0, 64}; }
  static Window high_half(std::uint32_t buffer) { return {buffer, 64, 64}; }
  void call(const KernelDef& k, std::vector<Window> windows) {
    program.calls.push_back({&k, std::move(windows), static_cast<std::uint32_t>(program.calls.size()), false});
  }
  Captured captured() { return capture(device, program); }
  /// The kernels' names without "t_".
  static std::string names(const ComputeGraph& g) {
    std::string out;
    for (const Record& r : g.recording().records)
      out += fmt::format("{}{}", out.empty() ? "" : " ", r.kernel->def->name.substr(2));
    return out;
  }
  std::string without_dead() {
    const Captured g = captured();
    return names(remove_dead(g.graph, g.scratch));
  }
  std::string fused() {
    const Captured g = captured();
    return names(value(fuse(g.graph, kRules, g.scratch)));
  }
};

class RemoveDead : public Passes {};

TEST_F(RemoveDead, DropsWhatIsOverwrittenUnread) {
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(b), all(a)});
  EXPECT_EQ(without_dead(), "copy");
}
TEST_F(RemoveDead, KeepsWhatIsReadBeforeItIsOverwritten) {
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(a), all(b)});
  call(fill_kernel, {all(a)});
  EXPECT_EQ(without_dead(), "fill copy fill");
}
TEST_F(RemoveDead, KeepsWhatIsOverwrittenOnlyInPart) {
  call(fill_kernel, {all(a)});
  call(fill_kernel, {{a, 0, 127}});
  EXPECT_EQ(without_dead(), "fill fill");
}
TEST_F(RemoveDead, DropsWhatSeveralOverwriteTogether) {
  call(mirror_kernel, {all(b), all(a)});
  call(fill_kernel, {low_half(a)});
  call(fill_kernel, {high_half(a)});
  EXPECT_EQ(without_dead(), "fill fill");
}
TEST_F(RemoveDead, CountsAnUpdateAsAReadOfWhatItUpdates) {
  call(fill_kernel, {all(a)});
  call(bump_kernel, {all(a)});
  EXPECT_EQ(without_dead(), "fill bump");
  call(fill_kernel, {all(a)});
  EXPECT_EQ(without_dead(), "fill") << "updates nobody reads go with what they update";
}
TEST_F(RemoveDead, KeepsTheInputOfWorkInPlace) {
  call(mirror_kernel, {all(b), all(a)});
  call(copy_kernel, {all(a), all(a)});
  EXPECT_EQ(without_dead(), "mirror copy");
}
TEST_F(RemoveDead, GoesAllTheWayUp) {
  program.scratch = {all(a), all(b), all(c)};
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(c)});
  call(fill_kernel, {all(d)});
  EXPECT_EQ(without_dead(), "fill");
}
TEST_F(RemoveDead, AtTheEndOnlyScratchIsDead) {
  call(fill_kernel, {all(a)});
  program.scratch = {{a, 1, 127}};
  EXPECT_EQ(without_dead(), "fill") << "byte 0 is somebody's";
  program.scratch = {{a, 1, 127}, {a, 0, 1}};
  EXPECT_EQ(without_dead(), "");
}
TEST_F(RemoveDead, KeepsKernelsThatWriteNothing) {
  const Buffer x = value(device.alloc(DType::i32, {64}));
  auto encoder = value(device.command_encoder());
  encoder.start_capture();
  ok(run(encoder, failing_kernel, {x}, 64, 1U));
  EXPECT_EQ(remove_dead(value(encoder.take_capture())).size(), 1U);
}
TEST_F(RemoveDead, AParameterWhoseDispatchesAreGoneIsStillTaken) {
  call(fill_kernel, {all(a)});
  program.calls.back().parameter = true;
  call(fill_kernel, {all(a)});
  const ComputeGraph g = remove_dead(captured().graph);
  EXPECT_EQ(names(g), "fill");
  constexpr std::string_view good[] = {"c"}, bad[] = {"d"};
  auto encoder = value(device.command_encoder());
  const PlanParameter fits[] = {{"c", 255}}, exceeds[] = {{"c", 256}};
  const Plan plan = value(reorder(g).compile(good));
  EXPECT_FALSE(encoder.replay(plan, exceeds));
  ok(encoder.replay(plan, fits));
  ok(encoder.commit_and_wait());
  EXPECT_FALSE(g.compile(bad));
}

class Reorder : public Passes {};

TEST_F(Reorder, PutsIndependentChainsSideBySide) {
  for (const std::uint32_t x : {a, b, c}) {
    call(fill_kernel, {all(x)});
    call(bump_kernel, {all(x)});
    call(bump_kernel, {all(x)});
  }
  const Captured g = captured();
  EXPECT_EQ(g.graph.barriers(), 6U);
  const ComputeGraph r = reorder(g.graph);
  EXPECT_EQ(r.barriers(), 2U);
  EXPECT_EQ(names(r), "fill fill fill bump bump bump bump bump bump");
}
TEST_F(Reorder, KeepsTheOrderOfEveryHazard) {
  call(copy_kernel, {all(a), all(b)});  // b written
  call(copy_kernel, {all(b), all(c)});  // RAW
  call(fill_kernel, {all(b)});          // WAR with the copy, WAW with the first
  call(mirror_kernel, {all(b), all(d)});
  EXPECT_EQ(names(reorder(captured().graph)), "copy copy fill mirror");
  EXPECT_EQ(reorder(captured().graph).barriers(), 3U);
}
TEST_F(Reorder, NeedsAsManyPhasesAsTheLongestChain) {
  const Seeds seeds;
  for (std::uint64_t seed = seeds.first; seed < seeds.first + 100; ++seed) {
    SCOPED_TRACE(seed);
    const ComputeGraph g = capture(device, Generator(seed).program()).graph;
    std::vector<std::size_t> depth(g.size());
    std::size_t longest = 0;
    for (const GraphEdge& edge : value(g.edges()))
      longest = std::max(longest, depth[edge.to] = std::max(depth[edge.to], depth[edge.from] + 1));
    EXPECT_EQ(reorder(g).barriers(), longest);
    EXPECT_EQ(reorder(reorder(g)).to_json(), reorder(g).to_json());
  }
}

class PlanMemory : public Passes {
 protected:
  /// Where the graph's binding lies now.
  static Binding binding(const ComputeGraph& g, std::size_t node, std::size_t i) {
    return g.recording().records[node].bindings[i];
  }
};

TEST_F(PlanMemory, ValuesOfDifferentTimesShareBytes) {
  program.scratch = {all(a), all(b), all(c), all(d)};
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(c)});
  call(copy_kernel, {all(c), all(d)});
  call(copy_kernel, {all(d), all(e)});
  const Captured g = captured();
  const PlannedGraph p = value(plan_memory(g.graph, g.scratch));
  EXPECT_EQ(p.bytes_before, 512U);
  EXPECT_EQ(p.bytes_after, 256U) << "two at a time";
  EXPECT_EQ(p.graph.barriers(), 4U);
  EXPECT_EQ(binding(p.graph, 0, 0), binding(p.graph, 2, 1));
  EXPECT_EQ(binding(p.graph, 1, 1), binding(p.graph, 3, 1));
  EXPECT_NE(binding(p.graph, 0, 0), binding(p.graph, 1, 1));
}
TEST_F(PlanMemory, ValuesOfOnePhaseDoNotEvenIfOneIsReadBeforeTheOtherIsWritten) {
  program.scratch = {all(a), all(b)};
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(a), all(c)});
  call(fill_kernel, {all(b)});  // runs beside the copy
  call(copy_kernel, {all(b), all(d)});
  const Captured g = captured();
  const PlannedGraph p = value(plan_memory(g.graph, g.scratch));
  EXPECT_EQ(p.bytes_after, 256U);
  EXPECT_EQ(p.graph.barriers(), g.graph.barriers());
}
TEST_F(PlanMemory, MemoryUsedAgainHoldsAnotherValue) {
  program.scratch = {all(a)};
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(a), all(b)});
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(a), all(c)});
  const Captured g = captured();
  EXPECT_EQ(g.graph.barriers(), 3U);
  const PlannedGraph apart = value(plan_memory(g.graph, g.scratch, {Sharing::none}));
  EXPECT_EQ(apart.bytes_after, 256U);
  EXPECT_EQ(reorder(apart.graph).barriers(), 1U) << "the second fill no longer waits for the first copy";
  EXPECT_EQ(value(plan_memory(g.graph, g.scratch)).bytes_after, 128U);
}
TEST_F(PlanMemory, WhatIsNotAllScratchStays) {
  program.scratch = {{a, 0, 100}, all(c)};
  call(fill_kernel, {low_half(a)});
  call(fill_kernel, {high_half(a)});  // bytes 100 to 127 are somebody's
  call(copy_kernel, {all(a), all(b)});
  call(fill_kernel, {all(c)});
  call(copy_kernel, {all(c), all(d)});
  const Captured g = captured();
  const PlannedGraph p = value(plan_memory(g.graph, g.scratch));
  for (const std::size_t node : {0, 1, 2}) EXPECT_EQ(binding(p.graph, node, 0), binding(g.graph, node, 0));
  EXPECT_NE(binding(p.graph, 3, 0), binding(g.graph, 3, 0));
  EXPECT_EQ(p.bytes_before, 228U);
  EXPECT_EQ(p.bytes_after, 228U);
}
TEST_F(PlanMemory, KeepsAlignmentAndTheDistanceOfWindowsOfOneValue) {
  program.scratch = {all(a)};
  call(fill_kernel, {{a, 70, 10}});
  call(fill_kernel, {{a, 80, 20}});
  call(copy_kernel, {{a, 75, 20}, {b, 0, 20}});
  const Captured g = captured();
  const PlannedGraph p = value(plan_memory(g.graph, g.scratch));
  EXPECT_EQ(binding(p.graph, 0, 0).offset % 64, 6U);
  EXPECT_EQ(binding(p.graph, 1, 0).offset, binding(p.graph, 0, 0).offset + 10);
  EXPECT_EQ(binding(p.graph, 2, 0).offset, binding(p.graph, 0, 0).offset + 5);
  EXPECT_EQ(binding(p.graph, 2, 1), binding(g.graph, 2, 1));
}
TEST_F(PlanMemory, WithoutScratchChangesNothing) {
  call(fill_kernel, {all(a)});
  const Captured g = captured();
  const PlannedGraph p = value(plan_memory(g.graph, g.scratch));
  EXPECT_EQ(p.graph.to_json(), g.graph.to_json());
  EXPECT_EQ(p.bytes_after, 0U);
}

class Fuse : public Passes {
 protected:
  Fuse() { program.scratch = {all(b), all(c)}; }
};

TEST_F(Fuse, JoinsAProducerAndItsOnlyConsumer) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  EXPECT_EQ(fused(), "copy_copy");
}
TEST_F(Fuse, NotWhereTheValueIsNotScratch) {
  call(copy_kernel, {all(a), all(e)});
  call(copy_kernel, {all(e), all(d)});
  EXPECT_EQ(fused(), "copy copy");
  call(fill_kernel, {all(e)});
  EXPECT_EQ(fused(), "copy_copy fill") << "it is overwritten";
}
TEST_F(Fuse, NotWhereTheValueIsReadAgainLater) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  call(mirror_kernel, {{b, 127, 1}, {e, 0, 1}});
  EXPECT_EQ(fused(), "copy copy mirror");
}
TEST_F(Fuse, NotWhereTheValueIsReadInBetween) {
  call(copy_kernel, {all(a), all(b)});
  call(mirror_kernel, {{b, 0, 8}, {e, 0, 8}});
  call(copy_kernel, {all(b), all(d)});
  EXPECT_EQ(fused(), "copy mirror copy");
}
TEST_F(Fuse, NotWhereTheValueIsOverwrittenInBetweenInPart) {
  call(copy_kernel, {all(a), all(b)});
  call(fill_kernel, {{b, 3, 1}});
  call(copy_kernel, {all(b), all(d)});
  EXPECT_EQ(fused(), "copy fill copy");
}
TEST_F(Fuse, NotWhereTheConsumerReadsOnlyAPart) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {low_half(b), low_half(d)});
  EXPECT_EQ(fused(), "copy copy");
}
TEST_F(Fuse, NotWhereTheProducersInputIsOverwrittenInBetweenAndTheConsumerCannotMoveUp) {
  call(copy_kernel, {all(a), all(b)});
  call(mirror_kernel, {all(d), all(a)});  // overwrites the input, and reads what the consumer writes
  call(copy_kernel, {all(b), all(d)});
  EXPECT_EQ(fused(), "copy mirror copy");
}
TEST_F(Fuse, MovesTheConsumerUpWhereTheProducerCannotMoveDown) {
  call(copy_kernel, {all(a), all(b)});
  call(fill_kernel, {all(a)});
  call(copy_kernel, {all(b), all(d)});
  EXPECT_EQ(fused(), "copy_copy fill");
}
TEST_F(Fuse, MovesTheProducerDownWhereTheConsumerCannotMoveUp) {
  call(copy_kernel, {all(a), all(b)});
  call(mirror_kernel, {all(d), all(e)});
  call(copy_kernel, {all(b), all(d)});
  EXPECT_EQ(fused(), "mirror copy_copy");
}
TEST_F(Fuse, NotWhereTilesWouldOverwriteWhatOthersHaveYetToRead) {
  call(mirror_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(a)});
  EXPECT_EQ(fused(), "mirror copy");
}
TEST_F(Fuse, APartThatWorksInPlaceStillMayWhereTheRuleSaysSo) {
  call(copy_kernel, {all(a), all(a)});
  call(mirror_kernel, {all(a), all(d)});
  EXPECT_EQ(fused(), "copy mirror");
  program.calls.clear();
  call(mix_kernel, {all(a), all(d), all(a)});
  call(copy_kernel, {all(a), all(e)});
  EXPECT_EQ(fused(), "mix_copy");
  program.calls[1].windows = {all(a), all(d)};  // what the mix reads
  EXPECT_EQ(fused(), "mix copy");
}
TEST_F(Fuse, NotWhereAnOperandBesideTheValueIsTheValueToo) {
  call(copy_kernel, {all(b), all(b)});
  call(gather_kernel, {all(b), all(b)});
  EXPECT_EQ(fused(), "copy gather");
}
TEST_F(Fuse, AValueTheFusedKernelStillWritesMayBeReadLater) {
  call(copy_kernel, {all(a), all(e)});
  call(mirror_kernel, {all(e), all(d)});
  EXPECT_EQ(fused(), "copy_mirror");
}
TEST_F(Fuse, JoinsTwoProducersThatStandApart) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(d), all(c)});
  call(mix_kernel, {all(b), all(c), all(e)});
  EXPECT_EQ(fused(), "copies_mix");
  program.calls[2].windows = {all(c), all(b), all(e)};
  EXPECT_EQ(fused(), "copies_mix") << "in the order of the rule";
  program.calls[2].windows = {all(b), all(b), all(e)};
  EXPECT_EQ(fused(), "copy copy mix") << "one producer is not two";
}
TEST_F(Fuse, GoesOnUntilNothingIsLeftToFuse) {
  program.scratch = {all(b), all(c), all(e)};
  call(mirror_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(c)});  // becomes mirror_copy, which no rule continues
  call(copy_kernel, {all(c), all(e)});
  call(copy_kernel, {all(e), all(d)});
  EXPECT_EQ(fused(), "mirror_copy copy_copy");
}
TEST_F(Fuse, NotWhereMoreBarriersWouldBeNeeded) {
  call(copy_kernel, {all(a), all(b)});
  call(fill_kernel, {all(d)});
  call(bump_kernel, {all(d)});
  call(gather_kernel, {all(b), all(d)});  // in the third phase
  call(fill_kernel, {all(a)});            // beside the gather, as long as a is not read there
  call(bump_kernel, {all(a)});
  EXPECT_EQ(fused(), "copy fill bump gather fill bump");
  program.calls.pop_back();
  program.calls.pop_back();
  EXPECT_EQ(fused(), "fill bump copy_gather");
}
TEST_F(Fuse, NotWhereAParameterWouldLoseItsPlace) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  program.calls[1].parameter = true;
  const std::vector<FusionRule> rules = {{{"t_copy"}, "t_copy", &copy_copy_kernel, [](Parts p) {
                                            Fused f = join_ends(p);
                                            f->constants_at = {0U, std::nullopt};
                                            return f;
                                          }}};
  const Captured g = captured();
  EXPECT_EQ(names(value(fuse(g.graph, rules, g.scratch))), "copy copy");
  const ComputeGraph f = value(fuse(g.graph, kRules, g.scratch));
  EXPECT_EQ(names(f), "copy_copy");
  ASSERT_EQ(f.recording().places.size(), 1U);
  EXPECT_EQ(f.recording().places[0].at, 4U);
}
TEST_F(Fuse, NotWhereARuleReadsWhatItsOwnPartsHaveYetToWrite) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  const std::vector<FusionRule> wrong = {{{"t_copy"}, "t_copy", &copy_copy_kernel, [](Parts p) {
                                            Fused f = join_ends(p);
                                            f->bindings[0] = {1, 0};
                                            return f;
                                          }}};
  const Captured g = captured();
  EXPECT_EQ(names(value(fuse(g.graph, wrong, g.scratch))), "copy copy");
}

TEST_F(Fuse, NotWhereARuleLeavesWhatALaterPartOverwrites) {
  call(bump_kernel, {all(b)});
  call(copy_kernel, {all(b), all(b)});
  const std::vector<FusionRule> wrong = {{{"t_bump"}, "t_copy", &fused_bump_kernel, [](Parts p) {
                                            return pair(p, {{0, 0}});
                                          }}};
  const Captured g = captured();
  EXPECT_EQ(names(value(fuse(g.graph, wrong, g.scratch))), "bump copy");
}
TEST_F(Fuse, NotWhereMoreScratchIsAskedForThanThreadsHave) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  static constexpr CpuForm greedy_form = {.select = cpu_form<copy_copy>.select, .launch = [](const LaunchInputs& in) {
                                            return Launch{
                                                .grid = {in.sizes.back()}, .block = tile, .shared_bytes = SIZE_MAX};
                                          }};
  static const KernelDef greedy_kernel = {"t_greedy", "rw", {&greedy_form}};
  const std::vector<FusionRule> greedy = {{{"t_copy"}, "t_copy", &greedy_kernel, join_ends}};
  const Captured g = captured();
  EXPECT_EQ(names(value(fuse(g.graph, greedy, g.scratch))), "copy copy");
}
TEST_F(Fuse, NotWhereTheDeviceHasNoFormOfTheFusedKernel) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  static const KernelDef elsewhere = {"t_elsewhere", "rw", {.vulkan = reinterpret_cast<const VulkanForm*>(&tile)}};
  std::vector<FusionRule> rules = {{{"t_copy"}, "t_copy", &elsewhere, join_ends}};
  const Captured g = captured();
  EXPECT_EQ(names(value(fuse(g.graph, rules, g.scratch))), "copy copy");
  rules.push_back(kRules[0]);
  EXPECT_EQ(names(value(fuse(g.graph, rules, g.scratch))), "copy_copy") << "the next rule";
}
TEST_F(Fuse, TheFormOfTheFusedKernelDecidesHowItIsCut) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  static constexpr CpuForm halves_form = {.select = cpu_form<copy_copy>.select, .launch = [](const LaunchInputs& in) {
                                            const auto joined = in.arguments.as<Two>();
                                            EXPECT_EQ(joined.d, joined.c + 1) << "the constants of both";
                                            return Launch{{in.sizes.back()}, {in.sizes.back() / 2}, 128};
                                          }};
  static const KernelDef halves = {"t_halves", "rw", {&halves_form}};
  const std::vector<FusionRule> rules = {{{"t_copy"}, "t_copy", &halves, join_ends}};
  const Captured g = captured();
  const ComputeGraph f = value(fuse(g.graph, rules, g.scratch));
  ASSERT_EQ(names(f), "halves");
  const Record& r = f.recording().records[0];
  EXPECT_EQ(r.grid, Grid{128});
  EXPECT_EQ(*r.block, Grid{64});
  EXPECT_EQ(r.shared_bytes, 128U);
}
TEST_F(Fuse, ARuleThatBindsWhatIsNotThereIsAnError) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  const Captured g = captured();
  const auto message = [&](Fused (*rule)(Parts)) {
    const FusionRule rules[] = {{{"t_copy"}, "t_copy", &copy_copy_kernel, rule}};
    const auto fused = fuse(g.graph, rules, g.scratch);
    return fused ? std::string("fused") : fused.error().str();
  };
  EXPECT_NE(message([](Parts p) {
              return pair(p, {{0, 0}});
            }).find("t_copy_copy: it has 2 bindings, got 1"),
            std::string::npos);
  EXPECT_NE(message([](Parts p) {
              return pair(p, {{0, 0}, {2, 0}});
            }).find("no binding 0 of part 2"),
            std::string::npos);
}

TEST_F(Fuse, AFusedKernelWhoseFormDecidesNoGridIsAnError) {
  call(copy_kernel, {all(a), all(b)});
  call(copy_kernel, {all(b), all(d)});
  static const KernelDef undecided = {"t_undecided", "rw", {&cpu_form<copy_copy, tile>}};
  const FusionRule rules[] = {{{"t_copy"}, "t_copy", &undecided, join_ends}};
  const Captured g = captured();
  const auto f = fuse(g.graph, rules, g.scratch);
  ASSERT_FALSE(f);
  EXPECT_NE(f.error().str().find("t_undecided: its form does not decide a grid"), std::string::npos) << f.error().str();
}

TEST(Placeholders, GetMemoryFromAPlanWhereItIsTold) {
  Device device = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  Buffer out = value(device.alloc(DType::u8, {128}));
  const Buffer between = value(device.placeholder(DType::u8, {128})),
               other = value(device.placeholder(DType::u8, {128}));
  const auto record = [&](CommandEncoder& e) -> Result<void> {
    const auto run = [&](const KernelDef& k, std::initializer_list<Buffer> buffers) -> Result<void> {
      return e.dispatch({.kernel = HALYARD_TRY(e.kernel(k)),
                         .grid = {128},
                         .buffers = std::span(buffers.begin(), buffers.size()),
                         .constants = One{1}});
    };
    HALYARD_TRY(run(fill_kernel, {between}));
    HALYARD_TRY(run(copy_kernel, {between, other}));
    return run(copy_kernel, {other, out});
  };
  EXPECT_EQ(device.residency_count(), 1U) << "a placeholder is no memory";
  EXPECT_EQ(between.read<Byte>().error().code, Errc::invalid_state);
  CommandEncoder e = value(device.command_encoder());
  EXPECT_EQ(record(e).error().code, Errc::invalid_state) << "outside a capture";
  e.start_capture();
  ASSERT_TRUE(record(e));
  const ComputeGraph g = value(e.take_capture());
  EXPECT_EQ(remove_dead(g).size(), 3U);
  EXPECT_EQ(g.compile().error().code, Errc::invalid_state) << "before they have memory";

  const Buffer memory = value(device.alloc(DType::u8, {1000}));
  std::size_t asked = 0;
  const PlannedGraph p = value(plan_memory(g, {}, {.memory = [&](std::size_t bytes) -> Result<Buffer> {
                                             asked = bytes;
                                             return memory;
                                           }}));
  EXPECT_EQ(asked, 256U);
  EXPECT_EQ(p.graph.recording().records[0].bindings[0].allocation, memory.allocation().get());
  ASSERT_TRUE(e.replay(value(p.graph.compile())));
  ASSERT_TRUE(e.commit_and_wait());
  std::vector<Byte> expected(128);
  for (std::size_t i = 0; i < 128; ++i) expected[i] = low(7 * i + 3);
  EXPECT_EQ(value(out.read<Byte>()), expected);

  const Buffer small = value(device.alloc(DType::u8, {100}));
  EXPECT_EQ(plan_memory(g, {}, {.memory = [&](std::size_t) -> Result<Buffer> { return small; }}).error().code,
            Errc::invalid_argument);
}

TEST(Optimize, AGraphWithoutADeviceIsAnError) {
  const ComputeGraph g{std::make_shared<Recording>()};
  EXPECT_EQ(optimize(g, {}).error().code, Errc::invalid_state);
  EXPECT_EQ(fuse(g, {}).error().code, Errc::invalid_state);
  EXPECT_EQ(remove_dead(g).size(), 0U);
  EXPECT_EQ(reorder(g).size(), 0U);
}

}  // namespace
}  // namespace halyard
