#include "halyard/testing/sim/sim_driver.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/cpu/job.h"
#include "halyard/hal/plan_state.h"
#include "halyard/hal/submission.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/open_device.h"
#include "halyard/testing/sim/random.h"

namespace halyard::testing {
namespace {

constexpr int poison = 0xA5;
constexpr std::size_t max_shared = std::size_t{1} << 16;

struct Tile {
  std::uint32_t record, index;
};

// The driver's own form of a plan.
struct SimPlan final : PreparedPlan {
  std::vector<Record> records;
  std::vector<PlanState::Patched> patched;
  mutable std::vector<std::byte> first;  // the constants of its first replay
};

// A submission, its records with those of replayed plans among them, their windows, and its tiles in the order in which
// they will run.
struct Job final : PreparedSubmission {
  std::shared_ptr<Submission> submission;
  std::vector<Record> records;
  std::set<const void*> memory;                  // that its records bind
  std::deque<std::vector<std::byte>> constants;  // those that mistakes need
  std::deque<Grid> blocks;                       // those that mistakes need
  std::vector<Profiler::Span> spans;             // if the device has a profiler
  std::vector<std::vector<std::byte*>> windows;
  std::vector<std::vector<std::size_t>> sizes;
  std::vector<Tile> tiles;
  std::size_t next = 0;
  bool begun = false;
  bool finished() const { return begun && (next == tiles.size() || submission->failed.load()); }
};

class SimDriver;
std::vector<SimDriver*>& live_drivers() {
  static std::vector<SimDriver*> drivers;
  return drivers;
}

class SimDriver final : public Driver {
 public:
  explicit SimDriver(SimOptions o) : options_(std::move(o)), random_(options_.seed) {
    capabilities_ = {.backend = "sim",
                     .name = fmt::format("seed {}", options_.seed),
                     .isa = "plain",
                     .threads = 1,
                     .memory_bytes = std::size_t{1} << 32,
                     .max_shared_bytes = max_shared,
                     .host_visible = true};
    live_drivers().push_back(this);
  }
  ~SimDriver() override {
    for (auto& [bytes, blocks] : free_)
      for (void* p : blocks) std::free(p);
    std::erase(live_drivers(), this);
  }

  const Capabilities& capabilities() const override { return capabilities_; }
  Backend backend() const override { return Backend::cpu; }

  // What was freed last is handed out first: work that still used it would be seen.
  Result<Memory> allocate(std::size_t bytes) override {
    progress();
    if (bytes > capabilities_.memory_bytes)
      return fail(Errc::out_of_memory, fmt::format("{} bytes of {}", bytes, capabilities_.memory_bytes));
    const std::size_t block = block_bytes(bytes);
    auto& blocks = free_[block];
    void* p = nullptr;
    if (blocks.empty()) {
      p = std::aligned_alloc(64, block);
      if (!p) return fail(Errc::out_of_memory, fmt::format("no memory for {} bytes", bytes));
    } else {
      p = blocks.back();
      blocks.pop_back();
    }
    refused_.erase(p);
    std::memset(p, options_.mistake == SimMistake::memory_not_zeroed ? poison : 0, block);
    return memory_at(p, bytes);
  }
  Result<Memory> import(const void* data, std::size_t bytes) override {
    return memory_at(const_cast<void*>(data), bytes);
  }
  Result<void> write(const Memory& to, std::size_t offset, std::span<const std::byte> from) override {
    std::memcpy(cpu_address(to) + offset, from.data(), from.size());
    return {};
  }
  Result<void> read(const Memory& from, std::size_t offset, std::span<std::byte> to) override {
    std::memcpy(to.data(), cpu_address(from) + offset, to.size());
    return {};
  }
  void free(const Memory& m) override {
    const SpareNew simulation;
    if (pinned_.contains(m.host)) complain("memory is freed while it is pinned");
    if (in_use(m)) complain("memory is freed while work needs it");
    std::memset(m.host, poison, block_bytes(m.bytes));
    free_[block_bytes(m.bytes)].push_back(m.host);
  }

  // Some of it is refused, as a system short of memory would.
  Result<void> pin(const Memory& m) override {
    const SpareNew simulation;
    if (random_.one_in(8)) {
      refused_.insert(m.host);
      return fail(Errc::out_of_memory, fmt::format("{} bytes are not pinned", m.bytes));
    }
    if (!pinned_.insert(m.host).second) complain("memory is pinned twice");
    return {};
  }
  void unpin(const Memory& m) override {
    if (pinned_.erase(m.host) == 0) complain("memory is unpinned that was not pinned");
    if (in_use(m)) complain("memory is unpinned while work needs it");
  }

  Result<std::unique_ptr<CompiledKernel>> compile(const KernelDef& def, const Constants& specialisation) override {
    return compile_cpu_form(def, Isa::plain, specialisation);
  }

  Result<std::unique_ptr<const PreparedPlan>> prepare(const PlanState& p) override {
    if (p.recording->records.empty() || !options_.own_plans.value_or(random_.one_in(2))) return nullptr;
    auto plan = std::make_unique<SimPlan>();
    plan->records = p.recording->records;
    plan->patched = p.patched;
    return plan;
  }

  Result<void> make_ready(Submission& s) override {
    s.prepared = lay_out(s);
    return {};
  }

  // The simulation has memory of its own: only what completes a command buffer is to do without.
  void submit(std::shared_ptr<Submission> s, bool) noexcept override {
    {
      const SpareNew simulation;
      if (options_.on_submit) {
        Job honest;
        flatten(honest, s->recording, SimMistake::none);
        options_.on_submit(honest.records);
      }
      if (options_.mistake == SimMistake::flushed_early)
        s->device->completed = std::numeric_limits<std::uint64_t>::max();
      queue_.push_back(std::static_pointer_cast<Job>(std::move(s->prepared)));
      mislay(*queue_.back(), *s);
      queue_.back()->submission = std::move(s);
      expect_pinned(*queue_.back());
    }
    progress();
  }

  void wait(std::uint64_t sequence) override {
    while (!queue_.empty() && queue_.front()->submission->sequence <= sequence) {
      const Job& front = *queue_.front();
      if (options_.mistake == SimMistake::wait_returns_early && front.submission->sequence == sequence && front.begun &&
          front.next + 1 >= front.tiles.size())
        return;
      step();
    }
  }

  // Runs everything; the device may go away as its last work completes.
  void finish() {
    if (queue_.empty()) return;
    const std::shared_ptr<DeviceState> keep = queue_.front()->submission->device;
    wait(std::numeric_limits<std::uint64_t>::max());
  }

 private:
  static Memory memory_at(void* p, std::size_t bytes) { return {reinterpret_cast<std::uintptr_t>(p), p, bytes}; }
  static std::size_t block_bytes(std::size_t bytes) { return (std::max<std::size_t>(bytes, 1) + 63) / 64 * 64; }

  void complain(const char* what) const {
    if (options_.on_wrong_memory) options_.on_wrong_memory(what);
  }

  // Whether work that has not finished runs on the memory.
  bool in_use(const Memory& m) const {
    return std::any_of(queue_.begin(), queue_.end(),
                       [&](const auto& j) { return !j->finished() && j->memory.contains(m.host); });
  }

  void expect_pinned(const Job& job) const {
    for (const Record& r : job.records)
      for (std::size_t i = 0; i < r.kernel->def->access.size(); ++i) {
        const Allocation& a = *r.bindings[i].allocation;
        if (a.residency.member && !pinned_.contains(a.memory.host) && !refused_.contains(a.memory.host))
          complain("work is submitted whose memory is not pinned");
      }
  }

  // Some of the work that a real device would have done meanwhile.
  void progress() {
    for (std::uint32_t n = random_.below(4) * random_.below(16); n > 0 && !queue_.empty(); --n) step();
  }

  // Runs one tile, or completes a command buffer that has run.
  void step() {
    if (queue_.front()->finished()) {
      const std::shared_ptr<Job> done = std::move(queue_.front());
      queue_.pop_front();
      done->submission->ended = Profiler::Clock::now();
      Profiler* const profiler = done->submission->device->profiler.get();
      if (profiler && done->next > 0) profiler->add(*done->submission, done->spans);
      done->submission->complete();
    } else {
      run_tile(choose());
    }
  }

  Job& choose() {
    if (options_.mistake == SimMistake::missed_wait && queue_.size() > 1 && !queue_[1]->finished() && random_.one_in(2))
      return *queue_[1];
    if (options_.mistake == SimMistake::queue_backwards)
      for (std::size_t i = queue_.size(); i-- > 1;)
        if (!queue_[i]->finished()) return *queue_[i];
    return *queue_.front();
  }

  void begin(Job& job) {
    Submission& s = *job.submission;
    job.begun = true;
    s.status.store(CommandBufferStatus::running);
    s.started = std::chrono::steady_clock::now();
    if (options_.mistake == SimMistake::fence_signalled_early) return;
    s.fail_with_dependency();
  }

  void run_tile(Job& job) {
    if (!job.begun) begin(job);
    if (job.finished()) return;
    const Tile tile = job.tiles[job.next++];
    const Record& r = job.records[tile.record];
    const Record& constants_of = options_.mistake == SimMistake::constants_shared ? job.records.back() : r;
    const Grid each = *r.block;
    const std::uint64_t across = blocks_along(r.grid.x, each.x), down = blocks_along(r.grid.y, each.y);
    const std::uint64_t x = tile.index % across * each.x, y = tile.index / across % down * each.y,
                        z = tile.index / across / down * each.z;
    std::memset(shared_, poison, r.shared_bytes);
    CpuJob owner{job.submission.get(), &r};
    const auto begin = Profiler::Clock::now();
    call_kernel(cpu_kernel(r).run, {x, std::min(x + each.x, r.grid.x), y, std::min(y + each.y, r.grid.y), z,
                                    std::min(z + each.z, r.grid.z), r.grid, job.windows[tile.record].data(),
                                    job.sizes[tile.record].data(), constants_of.constants, shared_, &owner});
    const SpareNew simulation;
    if (job.submission->device->profiler) job.spans.push_back({&r, tile.record, 0, begin, Profiler::Clock::now()});
  }

  std::shared_ptr<Job> lay_out(const Submission& s) {
    auto laid_out = std::make_shared<Job>();
    Job& job = *laid_out;
    flatten(job, s.recording, options_.mistake);
    for (const Record& r : job.records) {
      std::vector<std::byte*> windows;
      std::vector<std::size_t> sizes;
      for (std::size_t i = 0; i < r.kernel->def->access.size(); ++i) {
        job.memory.insert(r.bindings[i].allocation->memory.host);
        windows.push_back(window(r.bindings[i]));
        sizes.push_back(r.bindings[i].bytes);
      }
      job.windows.push_back(std::move(windows));
      job.sizes.push_back(std::move(sizes));
    }
    arrange(job.records, job.tiles);
    return laid_out;
  }

  // The mistakes that are made with the submission itself.
  void mislay(Job& job, Submission& s) const {
    if (options_.mistake == SimMistake::fence_signalled_early) s.fail_with_dependency();
    if (options_.mistake == SimMistake::memory_not_retained) s.recording.retained.clear();
    if (options_.mistake == SimMistake::plan_not_retained) {
      for (Record& r : job.records) {
        r.constants = job.constants.emplace_back(r.constants, r.constants + r.constants_bytes).data();
        r.block = &job.blocks.emplace_back(*r.block);
      }
      s.recording.calls.clear();
    }
  }

  // The records in the order in which they run.
  void flatten(Job& job, const Recording& recording, SimMistake mistake) {
    std::vector<PlanCall> calls = recording.calls;
    const std::size_t n = recording.records.size();
    for (PlanCall& c : calls) {
      if (mistake == SimMistake::replay_early && c.at > 0) --c.at;
      if (mistake == SimMistake::replay_late && c.at < n) ++c.at;
      for (const PlanCall& other : recording.calls)
        if (mistake == SimMistake::values_of_last_replay && other.plan == c.plan) c.constants = other.constants;
    }
    if (mistake == SimMistake::replay_lost && !calls.empty()) calls.erase(calls.begin() + random_.below(calls.size()));
    if (mistake == SimMistake::replay_twice && !calls.empty()) {
      const std::uint32_t twice = random_.below(calls.size());
      calls.insert(calls.begin() + twice, PlanCall(calls[twice]));
    }
    auto call = calls.begin();
    bool replayed = false;
    for (std::size_t i = 0; i <= n; ++i) {
      for (; call != calls.end() && call->at == i; ++call, replayed = true) append(job, *call, mistake);
      if (i == n) break;
      job.records.push_back(recording.records[i]);
      if (replayed) job.records.back().barrier_before = mistake != SimMistake::replay_not_separated_after;
      replayed = false;
    }
  }

  void append(Job& job, const PlanCall& c, SimMistake mistake) {
    const auto& plan = static_cast<const SimPlan&>(*c.plan->prepared);
    const std::size_t first = job.records.size();
    job.records.insert(job.records.end(), plan.records.begin(), plan.records.end());
    job.records[first].barrier_before = mistake != SimMistake::replay_not_separated_before;
    if (mistake == SimMistake::plan_barrier_lost) {
      if (const std::uint32_t lost = pick_barrier(plan.records)) job.records[first + lost].barrier_before = false;
    }
    const std::byte* constants = values(job, c, plan, mistake);
    for (std::size_t i = 0; i < plan.patched.size(); ++i) {
      const bool wrong = mistake == SimMistake::values_of_wrong_record;
      const std::uint32_t at = plan.patched[(i + wrong) % plan.patched.size()].at;
      job.records[first + plan.patched[i].record].constants = constants + at;
    }
  }

  // The constants that a replay's records see.
  static const std::byte* values(Job& job, const PlanCall& c, const SimPlan& plan, SimMistake mistake) {
    const PlanState& state = *c.plan;
    if (mistake == SimMistake::none || state.parameters.empty()) return c.constants;
    auto& own = job.constants.emplace_back(c.constants, c.constants + state.constants.size());
    if (mistake == SimMistake::parameter_ignored)
      for (const PlanState::Place& p : state.parameters.front().places)
        std::memcpy(own.data() + p.at, state.constants.data() + p.at, p.bytes);
    if (mistake == SimMistake::upper_half_lost)
      for (const PlanState::Parameter& parameter : state.parameters)
        for (const PlanState::Place& p : parameter.places)
          if (p.bytes == 8) std::memset(own.data() + p.at + 4, 0, 4);
    if (mistake == SimMistake::values_of_first_replay) {
      if (plan.first.empty()) plan.first = own;
      own = plan.first;
    }
    return own.data();
  }

  std::byte* window(const Binding& b) const {
    auto* base = static_cast<std::byte*>(b.allocation->memory.host);
    if (options_.mistake == SimMistake::view_offset_ignored) return base;
    const bool shift =
        options_.mistake == SimMistake::window_off_by_one && b.offset + b.bytes < b.allocation->memory.bytes;
    return base + b.offset + (shift ? 1 : 0);
  }

  // The tiles of all records, in an order that the barriers allow.
  void arrange(const std::vector<Record>& records, std::vector<Tile>& to) {
    const std::uint32_t lost = records.empty() ? 0 : pick_barrier(records);
    std::size_t phase = 0;
    for (std::uint32_t i = 0; i < records.size(); ++i) {
      if (separates(records, i, lost)) {
        order(to, phase);
        phase = to.size();
      }
      const Record& r = records[i];
      const Grid each = *r.block;
      std::uint64_t tiles =
          blocks_along(r.grid.x, each.x) * blocks_along(r.grid.y, each.y) * blocks_along(r.grid.z, each.z);
      if (options_.mistake == SimMistake::last_tile_lost && i + 1 == records.size() && tiles) --tiles;
      for (std::uint32_t t = 0; t < tiles; ++t) to.push_back({i, t});
    }
    order(to, phase);
    if (options_.mistake == SimMistake::tile_twice && !to.empty()) {
      const std::size_t at = random_.below(to.size());
      to.insert(to.begin() + static_cast<std::ptrdiff_t>(at), to[at]);
    }
  }

  bool separates(const std::vector<Record>& records, std::uint32_t i, std::uint32_t lost) const {
    switch (options_.mistake) {
      case SimMistake::barrier_ignored: return false;
      case SimMistake::barrier_late: return i > 0 && records[i - 1].barrier_before;
      case SimMistake::barrier_early: return i + 1 < records.size() && records[i + 1].barrier_before;
      case SimMistake::one_barrier_lost: return records[i].barrier_before && i != lost;
      default: return records[i].barrier_before;
    }
  }

  // One of the records with a barrier before them.
  std::uint32_t pick_barrier(const std::vector<Record>& records) {
    std::vector<std::uint32_t> with;
    for (std::uint32_t i = 0; i < records.size(); ++i)
      if (records[i].barrier_before) with.push_back(i);
    return with.empty() ? 0 : with[random_.below(with.size())];
  }

  // Orders the tiles from `first` on, all of one phase.
  void order(std::vector<Tile>& tiles, std::size_t first) {
    const auto begin = tiles.begin() + static_cast<std::ptrdiff_t>(first), end = tiles.end();
    if (end - begin < 2) return;
    Schedule schedule = options_.schedule;
    if (schedule == Schedule::any)
      schedule = static_cast<Schedule>(random_.below(static_cast<std::size_t>(Schedule::any)));
    switch (schedule) {
      case Schedule::in_order:
      case Schedule::any: return;
      case Schedule::reversed: return std::reverse(begin, end);
      case Schedule::last_dispatch_first:
        return std::stable_sort(begin, end, [](Tile a, Tile b) { return a.record > b.record; });
      case Schedule::round_robin: return std::stable_sort(begin, end, [](Tile a, Tile b) { return a.index < b.index; });
      case Schedule::one_starved: {
        const std::uint32_t victim = tiles[first + random_.below(static_cast<std::size_t>(end - begin))].record;
        std::stable_partition(begin, end, [&](Tile t) { return t.record != victim; });
        return;
      }
      case Schedule::shuffled:
        for (std::size_t i = tiles.size(); i > first + 1; --i)
          std::swap(tiles[i - 1], tiles[first + random_.below(i - first)]);
    }
  }

  SimOptions options_;
  Random random_;
  Capabilities capabilities_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::map<std::size_t, std::vector<void*>> free_;  // by size
  std::set<const void*> pinned_, refused_;
  alignas(64) std::byte shared_[max_shared];
};

}  // namespace

std::unique_ptr<Driver> make_sim_driver(SimOptions options) { return std::make_unique<SimDriver>(std::move(options)); }

Result<Device> open_sim_device(SimOptions options, const DeviceOptions& device) {
  return open_device(make_sim_driver(std::move(options)), device);
}

void finish_sim_devices() {
  const auto drivers = live_drivers();
  for (SimDriver* d : drivers) d->finish();
}

}  // namespace halyard::testing
