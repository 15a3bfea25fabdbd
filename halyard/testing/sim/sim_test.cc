// Random programs under random schedules, held against a plain interpreter and an independent judge of their barriers;
// and mistakes, each of which these tests must notice.
#include "halyard/base/environment.h"
#include "halyard/testing/sim/sim_driver.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"
#include "halyard/testing/sim/happens_before.h"
#include "halyard/testing/sim/program.h"

namespace halyard::testing {
namespace {

// ------------------------------------------------------------------------------------------- a tracker with mistakes

enum class TrackerMistake : std::uint8_t {
  none,
  raw_dropped,
  war_dropped,
  waw_dropped,
  end_short,           // ranges end a byte early
  begin_late,          // ranges begin a byte late
  last_dispatch_only,  // only the dispatch just before counts
  first_binding_only,
  views_by_offset,        // two windows of a buffer conflict only where they begin alike
  forcing_one_forgotten,  // the dispatch that a barrier stands before is not booked after it
  explicit_not_placed,    // memory_barrier() forgets the ranges and places no barrier
  before_replay_not_placed,
  after_replay_not_placed,
  capture_swallows,      // a barrier due before a capture is forgotten
  replay_not_forgotten,  // what a replay ran stays booked after it
  read_read_orders,
  end_long,           // ranges end a byte late
  whole_allocation,   // any two windows of a buffer conflict
  nothing_conflicts,  // a window of no bytes conflicts with one around it
  never_forgets,      // a barrier leaves the ranges booked
};

struct Range {
  const void* allocation;
  std::uint64_t begin, end;
  bool reads, writes;
  std::size_t dispatch;
};

bool conflict(const Range& earlier, const Range& later, TrackerMistake mistake) {
  if (earlier.allocation != later.allocation) return false;
  const bool raw = earlier.writes && later.reads && mistake != TrackerMistake::raw_dropped;
  const bool war = earlier.reads && later.writes && mistake != TrackerMistake::war_dropped;
  const bool waw = earlier.writes && later.writes && mistake != TrackerMistake::waw_dropped;
  const bool rar = earlier.reads && later.reads && mistake == TrackerMistake::read_read_orders;
  if (!raw && !war && !waw && !rar) return false;
  if (mistake == TrackerMistake::whole_allocation) return true;
  if (mistake == TrackerMistake::views_by_offset) return earlier.begin == later.begin;
  if (mistake == TrackerMistake::nothing_conflicts) return earlier.begin < later.end && later.begin < earlier.end;
  return std::max(earlier.begin, later.begin) < std::min(earlier.end, later.end);
}

// Whether a barrier is placed for the reasons given, by a tracker that makes the mistake.
bool placed(const Forced& f, TrackerMistake mistake) {
  if (f.across_capture && mistake == TrackerMistake::capture_swallows) return false;
  return (f.by_hand && mistake != TrackerMistake::explicit_not_placed) ||
         (f.replay_begins && mistake != TrackerMistake::before_replay_not_placed) ||
         (f.replay_ended && mistake != TrackerMistake::after_replay_not_placed);
}

// Decides again where the barriers stand, by the plainest tracker there could be.
void place_barriers(std::vector<Record>& records, const std::vector<Meant>& meant, TrackerMistake mistake) {
  std::vector<Range> booked;
  for (std::size_t i = 0; i < records.size(); ++i) {
    Record& r = records[i];
    std::vector<Range> mine;
    const AccessList& access = r.kernel->def->access;
    for (std::size_t b = 0; b < access.size(); ++b) {
      const Binding& w = r.bindings[b];
      mine.push_back(
          {w.allocation, w.offset + (mistake == TrackerMistake::begin_late),
           w.offset + w.bytes - (mistake == TrackerMistake::end_short) + (mistake == TrackerMistake::end_long),
           access[b] != Access::write, access[b] != Access::read, i});
      if (mistake == TrackerMistake::first_binding_only) break;
    }
    const Forced& forced = meant[i].forced;
    if (forced.any() && !(forced.replay_ended && mistake == TrackerMistake::replay_not_forgotten)) booked.clear();
    bool conflicts = false;
    for (const Range& e : booked)
      for (const Range& m : mine)
        conflicts |= conflict(e, m, mistake) && (mistake != TrackerMistake::last_dispatch_only || e.dispatch + 1 == i);
    r.barrier_before = conflicts || placed(forced, mistake);
    if (conflicts && mistake != TrackerMistake::never_forgets) booked.clear();
    if (conflicts && mistake == TrackerMistake::forcing_one_forgotten) continue;
    booked.insert(booked.end(), mine.begin(), mine.end());
  }
}

// --------------------------------------------------------------------------------------------------------- the judge

struct Tally {
  std::uint64_t dispatches = 0, replayed = 0, barriers = 0, fewest = 0;
  // A barrier as late as each conflict allows is as few as can be: cutting intervals greedily is optimal.
  bool too_many() const { return barriers > fewest; }
};

using Complaint = std::optional<std::string>;

Complaint judge(std::span<const Record> submitted, const Program& p, const Stage& stage, TrackerMistake mistake,
                Tally& tally) {
  std::vector<Record> records(submitted.begin(), submitted.end());
  const std::vector<Meant> meant = flatten(p, stage);
  if (records.size() != meant.size())
    return fmt::format("a command buffer of {} dispatches has {}", meant.size(), records.size());
  std::vector<bool> forced;
  for (std::size_t i = 0; i < records.size(); ++i) {
    forced.push_back(meant[i].forced.any());
    if (records[i].kernel->def->name != name_of(meant[i].call.op))
      return fmt::format("dispatch {} is another kernel", i);
    if (p.hazards == Hazards::manual && records[i].barrier_before != forced[i])
      return fmt::format("dispatch {}: hazards are by hand, and its barrier is not", i);
  }
  if (mistake != TrackerMistake::none) place_barriers(records, meant, mistake);
  const auto conflicts = unordered_conflicts(records);
  if (!conflicts.empty())
    return fmt::format("dispatches {} and {} conflict and are not ordered", conflicts[0].first, conflicts[0].second);
  tally.dispatches += records.size();
  tally.replayed +=
      static_cast<std::uint64_t>(std::count_if(meant.begin(), meant.end(), [](const Meant& m) { return m.of_plan; }));
  tally.barriers += count_barriers(records);
  tally.fewest += fewest_barriers(records, forced);
  return {};
}

Complaint check_counters(const Program& p, const Stats& s) {
  const Counts expected = count(p);
  const std::uint64_t tracked = p.hazards == Hazards::manual ? 0 : expected.dispatches;
  for (const auto& [name, found, wanted] :
       {std::tuple{"bytes_allocated", s.bytes_allocated, std::uint64_t{0}},
        {"dispatches", s.dispatches, expected.dispatches},
        {"auto_barriers + concurrent_dispatches", s.auto_barriers + s.concurrent_dispatches, tracked},
        {"explicit_barriers", s.explicit_barriers, expected.explicit_barriers},
        {"command_buffers", s.command_buffers, expected.command_buffers},
        {"syncs", s.syncs, expected.syncs}})
    if (found != wanted) return fmt::format("{} is {}, expected {}", name, found, wanted);
  return {};
}

// Runs the program once and says what is wrong. With a tally its recordings are judged as well.
Complaint run_once(const Program& p, const Contents& expected, SimOptions options, TrackerMistake mistake,
                   Tally* tally) {
  std::size_t stage = 0;
  Complaint complaint;
  options.on_wrong_memory = [&](const char* what) {
    if (!complaint) complaint = what;
  };
  if (tally)
    options.on_submit = [&](std::span<const Record> records) {
      if (stage == p.stages.size()) return;
      const Stage& s = p.stages[stage++];
      if (!complaint) complaint = judge(records, p, s, mistake, *tally);
    };
  Result<Contents> found;
  Stats stats;
  {
    Device device = value(open_sim_device(std::move(options)));
    found = execute(p, device);
    stats = device.stats();
    ok(value(device.command_encoder()).commit_and_wait());
    if (!complaint && device.residency_count() > 0) complaint = "the residency set is not empty in the end";
  }
  finish_sim_devices();
  if (complaint) return complaint;
  if (!found) return found.error().str();
  if (*found != expected) return "the bytes differ from serial execution";
  return check_counters(p, stats);
}

// A stage that fails, and one that waits for its fence.
Complaint run_failure(SimOptions options) {
  Device d = value(open_sim_device(std::move(options)));
  Buffer cursed = value(d.alloc(DType::u32, {256})), b = value(d.alloc(DType::u32, {256}));
  auto s = value(d.encoder_session());
  ok(run(s.encoder(), failing_kernel, {cursed}, 256, 100U));
  ok(s.fence_stage());
  ok(s.reset_for_next_stage());
  ok(run(s.encoder(), scale_in_place_kernel, {b}, 256, 1U));
  const auto r = s.commit_and_wait();
  if (r || r.error().code != Errc::dependency_failed) return "a stage ran though the fence that it waits on had failed";
  const auto content = value(b.read<std::uint32_t>());
  if (content != std::vector<std::uint32_t>(256)) return "a stage wrote though the fence that it waits on had failed";
  return {};
}

// ---------------------------------------------------------------------------------------------------------- programs

struct Share {
  std::uint64_t programs, schedules;
};

// HALYARD_SOAK=PROGRAMSxSCHEDULES asks for more than the share that every run of the tests takes.
Share share_from_environment() {
  unsigned long long programs = 0, schedules = 0;
  const auto asked = environment("HALYARD_SOAK");
  if (asked && std::sscanf(asked->c_str(), "%llux%llu", &programs, &schedules) == 2) return {programs, schedules};
#ifdef HALYARD_SANITIZED
  return {1000, 10};
#else
  return {10000, 20};
#endif
}

// HALYARD_SEED repeats a run.
std::uint64_t first_seed() {
  if (const auto given = environment("HALYARD_SEED")) return std::strtoull(given->c_str(), nullptr, 10);
  return std::random_device{}();
}

TEST(RandomPrograms, GiveTheBytesOfSerialExecutionUnderEverySchedule) {
  const auto [programs, schedules] = share_from_environment();
  const std::uint64_t first = first_seed();
  Tally tracked, by_hand_tally;
  for (std::uint64_t i = 0; i < programs; ++i) {
    const Program automatic = random_program(first + i), manual = by_hand(automatic);
    const Contents expected = interpret(automatic);
    // Every fourth schedule is the same program with its hazards by hand. The first of each kind is judged.
    for (std::uint64_t s = 0; s < schedules; ++s) {
      const Program& p = s % 4 == 1 ? manual : automatic;
      Tally* const tally = s == 0 ? &tracked : s == 1 ? &by_hand_tally : nullptr;
      const auto complaint = run_once(p, expected, {.seed = first + i + s * 0x10001}, TrackerMistake::none, tally);
      ASSERT_FALSE(complaint) << *complaint << "; repeat with HALYARD_SEED=" << first + i << ", schedule " << s;
    }
  }
  EXPECT_FALSE(tracked.too_many()) << tracked.barriers << " barriers, " << tracked.fewest << " would do; seed "
                                   << first;
  fmt::print("{} programs × {} schedules, {} dispatches, {} of them replayed, {} barriers, {} at the least; seed {}\n",
             programs, schedules, tracked.dispatches, tracked.replayed, tracked.barriers, tracked.fewest, first);
}

std::map<std::string_view, std::uint64_t> calls_by_kernel(const Profile& profile) {
  std::map<std::string_view, std::uint64_t> calls;
  for (const ProfileRow& row : profile.kernels) calls[row.name] += row.calls;
  return calls;
}

TEST(RandomPrograms, GiveTheSameBytesOnTheTeam) {
  const std::uint64_t first = first_seed(), programs = share_from_environment().programs / 25;
  for (const int threads : {1, 2, 5}) {
    for (const auto& [validate, profile] : {std::pair{false, false}, {true, false}, {false, true}, {true, true}}) {
      Device d = value(Device::open("cpu", {.cpu = {.threads = threads}, .validate = validate, .profile = profile}));
      for (std::uint64_t i = 0; i < programs; ++i) {
        SCOPED_TRACE(
            fmt::format("{} threads, validate {}, profile {}, HALYARD_SEED={}", threads, validate, profile, first + i));
        const Program p = i % 4 ? random_program(first + i) : by_hand(random_program(first + i));
        d.reset_stats();
        d.reset_profile();
        ASSERT_TRUE(value(execute(p, d)) == interpret(p));
        const auto wrong = check_counters(p, d.stats());
        ASSERT_FALSE(wrong) << *wrong;
        if (profile) { ASSERT_EQ(calls_by_kernel(d.profile()), count(p).by_kernel); }
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------------- mistakes

struct Mutant {
  const char* what;
  SimMistake sim;
  TrackerMistake tracker;
};

constexpr Mutant driver(const char* what, SimMistake m) { return {what, m, TrackerMistake::none}; }
constexpr Mutant tracker(const char* what, TrackerMistake m) { return {what, SimMistake::none, m}; }

constexpr Mutant mutants[] = {
    driver("no barrier has an effect", SimMistake::barrier_ignored),
    driver("a barrier stands after its dispatch", SimMistake::barrier_late),
    driver("a barrier stands one dispatch early", SimMistake::barrier_early),
    driver("one barrier is lost", SimMistake::one_barrier_lost),
    driver("a command buffer does not wait for the one before", SimMistake::missed_wait),
    driver("the queue runs backwards", SimMistake::queue_backwards),
    driver("a wait returns before the last tile", SimMistake::wait_returns_early),
    driver("a fence is signalled early", SimMistake::fence_signalled_early),
    driver("a view's offset is ignored", SimMistake::view_offset_ignored),
    driver("a window begins a byte late", SimMistake::window_off_by_one),
    driver("dispatches share constants", SimMistake::constants_shared),
    driver("a tile runs twice", SimMistake::tile_twice),
    driver("a tile is lost", SimMistake::last_tile_lost),
    driver("fresh memory is not zero", SimMistake::memory_not_zeroed),
    driver("memory is reused while work needs it", SimMistake::memory_not_retained),
    driver("a plan's barrier is lost", SimMistake::plan_barrier_lost),
    driver("a replay does not wait for what stands before", SimMistake::replay_not_separated_before),
    driver("what stands after a replay does not wait for it", SimMistake::replay_not_separated_after),
    driver("a replay stands one dispatch early", SimMistake::replay_early),
    driver("a replay stands one dispatch late", SimMistake::replay_late),
    driver("a replay is lost", SimMistake::replay_lost),
    driver("a replay runs twice", SimMistake::replay_twice),
    driver("replays see the last one's values", SimMistake::values_of_last_replay),
    driver("replays see the first one's values", SimMistake::values_of_first_replay),
    driver("a parameter is ignored", SimMistake::parameter_ignored),
    driver("a record sees another's constants", SimMistake::values_of_wrong_record),
    driver("a parameter loses its upper half", SimMistake::upper_half_lost),
    driver("a plan is let go while work needs it", SimMistake::plan_not_retained),
    driver("residency is flushed early", SimMistake::flushed_early),
    tracker("read after write is dropped", TrackerMistake::raw_dropped),
    tracker("write after read is dropped", TrackerMistake::war_dropped),
    tracker("write after write is dropped", TrackerMistake::waw_dropped),
    tracker("a range ends a byte early", TrackerMistake::end_short),
    tracker("a range begins a byte late", TrackerMistake::begin_late),
    tracker("only the last dispatch counts", TrackerMistake::last_dispatch_only),
    tracker("only the first binding counts", TrackerMistake::first_binding_only),
    tracker("views are compared by their offset", TrackerMistake::views_by_offset),
    tracker("the dispatch after a barrier is forgotten", TrackerMistake::forcing_one_forgotten),
    tracker("memory_barrier() places none", TrackerMistake::explicit_not_placed),
    tracker("no barrier is placed before a replay", TrackerMistake::before_replay_not_placed),
    tracker("no barrier is placed after a replay", TrackerMistake::after_replay_not_placed),
    tracker("a capture swallows a barrier", TrackerMistake::capture_swallows),
    tracker("two reads are ordered", TrackerMistake::read_read_orders),
    tracker("a range ends a byte late", TrackerMistake::end_long),
    tracker("all windows of a buffer conflict", TrackerMistake::whole_allocation),
    tracker("a window of no bytes conflicts", TrackerMistake::nothing_conflicts),
    tracker("a barrier forgets nothing", TrackerMistake::never_forgets),
    tracker("a replay forgets nothing", TrackerMistake::replay_not_forgotten),
};

Complaint run_mutant(const Mutant& m, std::uint64_t first) {
  constexpr std::uint64_t most = 300;
  Tally tally;
  for (std::uint64_t seed = first; seed < first + most; ++seed) {
    const Program p = random_program(seed);
    auto complaint = run_once(p, interpret(p), {.seed = seed, .mistake = m.sim}, m.tracker, &tally);
    if (!complaint) complaint = run_failure({.seed = seed, .mistake = m.sim});
    if (complaint) return fmt::format("{}, by program {}", *complaint, seed - first + 1);
  }
  if (tally.too_many()) return fmt::format("{} barriers where {} would do", tally.barriers, tally.fewest);
  return {};
}

TEST(Mutants, AreAllCaught) {
  const std::uint64_t first = first_seed();
  for (const Mutant& m : mutants) {
    const auto complaint = run_mutant(m, first);
    EXPECT_TRUE(complaint) << "not caught: " << m.what << "; HALYARD_SEED=" << first;
    std::printf("%-50s %s\n", m.what, complaint ? complaint->c_str() : "NOT CAUGHT");
  }
  const auto clean = run_mutant(driver("nothing", SimMistake::none), first);
  EXPECT_FALSE(clean) << *clean << "; HALYARD_SEED=" << first;
}

// For stages longer than the brute-force search can take as well.
TEST(RandomPrograms, AreOrderedAsThePlainestTrackerWouldOrderThem) {
  const std::uint64_t first = first_seed();
  for (std::uint64_t seed = first; seed < first + 300; ++seed) {
    const Program p = random_program(seed, seed % 10 ? 10 : 400);
    std::size_t stage = 0;
    const auto compare = [&](std::span<const Record> submitted) {
      std::vector<Record> records(submitted.begin(), submitted.end());
      place_barriers(records, flatten(p, p.stages[stage++]), TrackerMistake::none);
      for (std::size_t i = 0; i < records.size(); ++i)
        EXPECT_EQ(records[i].barrier_before, submitted[i].barrier_before)
            << "dispatch " << i << ", HALYARD_SEED=" << seed;
      EXPECT_TRUE(unordered_conflicts(submitted).empty()) << "HALYARD_SEED=" << seed;
    };
    const auto found = value(execute(p, value(open_sim_device({.seed = seed, .on_submit = compare}))));
    EXPECT_TRUE(found == interpret(p)) << "HALYARD_SEED=" << seed;
  }
}

// Passes place barriers where hazards are by hand, too.
Program in_recorded_order(Program p) {
  for (Captured& plan : p.plans) plan.reordered = false;
  return p;
}

// A barrier that tracking, or the one who places them by hand, found needed is needed just where it stands: without it, or
// one dispatch later, the judge objects.
TEST(Mutants, EveryBarrierDroppedOrMovedIsCaught) {
  const std::uint64_t first = first_seed();
  std::size_t moved = 0;
  for (std::uint64_t seed = first; seed < first + 200; ++seed) {
    const Program automatic = seed % 2 ? random_program(seed) : in_recorded_order(random_program(seed));
    const Program p = seed % 2 ? automatic : by_hand(automatic);
    std::size_t stage = 0;
    const auto mutate = [&](std::span<const Record> submitted) {
      const auto meant = flatten(automatic, automatic.stages[stage++]);
      for (std::size_t k = 1; k < submitted.size(); ++k) {
        if (!submitted[k].barrier_before || meant[k].forced.any()) continue;
        std::vector<Record> records(submitted.begin(), submitted.end());
        records[k].barrier_before = false;
        EXPECT_FALSE(unordered_conflicts(records).empty()) << "without barrier " << k << ", HALYARD_SEED=" << seed;
        if (k + 1 < records.size()) records[k + 1].barrier_before = true;
        EXPECT_FALSE(unordered_conflicts(records).empty()) << "barrier " << k << " late, HALYARD_SEED=" << seed;
        ++moved;
      }
    };
    value(execute(p, value(open_sim_device({.seed = seed, .on_submit = mutate}))));
  }
  EXPECT_GT(moved, 500U);
}

// Nobody places barriers here, so the bytes may come out wrong; what is recorded may not.
TEST(RandomPrograms, GetNoBarriersButTheirOwnWhereHazardsAreByHand) {
  const std::uint64_t first = first_seed();
  for (std::uint64_t seed = first; seed < first + 300; ++seed) {
    Program p = in_recorded_order(random_program(seed));
    p.hazards = Hazards::manual;
    std::size_t stage = 0;
    const auto compare = [&](std::span<const Record> submitted) {
      const auto meant = flatten(p, p.stages[stage++]);
      ASSERT_EQ(submitted.size(), meant.size());
      for (std::size_t i = 0; i < submitted.size(); ++i)
        EXPECT_EQ(submitted[i].barrier_before, meant[i].forced.any()) << "dispatch " << i << ", HALYARD_SEED=" << seed;
    };
    const Device d = value(open_sim_device({.seed = seed, .on_submit = compare}));
    value(execute(p, d));
    const auto wrong = check_counters(p, d.stats());
    EXPECT_FALSE(wrong) << *wrong << "; HALYARD_SEED=" << seed;
  }
}

TEST(SimDevice, RepeatsARunFromItsSeed) {
  const Program p = random_program(7);
  const auto run = [&](SimMistake m, std::uint64_t seed) {
    return value(execute(p, value(open_sim_device({.seed = seed, .mistake = m}))));
  };
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(run(SimMistake::barrier_ignored, seed), run(SimMistake::barrier_ignored, seed));
}

TEST(SimDevice, HasSchedulesThatEachShowAMissingBarrier) {
  for (int s = 0; s <= static_cast<int>(Schedule::any); ++s) {
    const auto schedule = static_cast<Schedule>(s);
    int differ = 0;
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
      const Program p = random_program(seed);
      const Contents expected = interpret(p);
      EXPECT_FALSE(run_once(p, expected, {.seed = seed, .schedule = schedule}, TrackerMistake::none, nullptr));
      differ += run_once(p, expected, {.seed = seed, .schedule = schedule, .mistake = SimMistake::barrier_ignored},
                         TrackerMistake::none, nullptr)
                    .has_value();
    }
    EXPECT_EQ(differ > 5, schedule != Schedule::in_order) << s << ": " << differ << " differ";
  }
}

}  // namespace
}  // namespace halyard::testing
