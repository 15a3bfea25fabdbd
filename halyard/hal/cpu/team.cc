#include "halyard/hal/cpu/team.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <new>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "halyard/base/threads.h"
#include "halyard/hal/allocation.h"
#include "halyard/hal/cpu/placement.h"
#include "halyard/hal/plan_state.h"
#include "halyard/hal/submission.h"
#include "halyard/hal/validate.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace halyard {

namespace cpu {
namespace {

using Clock = std::chrono::steady_clock;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How long a thread without work keeps looking for some before it sleeps: about what waking it up costs.
constexpr auto spin_time = std::chrono::microseconds(50);
// How long a thread whose job goes on without it sleeps before it looks again whether another has lost its core.
constexpr auto nap = std::chrono::microseconds(500);

// `after + timeout`, or the end of time where that lies beyond it.
Clock::time_point deadline(Clock::time_point after, std::chrono::milliseconds timeout) {
  const auto most = std::chrono::floor<std::chrono::milliseconds>(Clock::time_point::max() - after);
  return timeout < most ? after + timeout : Clock::time_point::max();
}

template <class Condition> bool spin_until(const Condition& holds) {
  const auto until = Clock::now() + spin_time;
  do {
    for (int k = 0; k < 32; ++k) {
      if (holds()) return true;
      relax();
    }
  } while (Clock::now() < until);
  return false;
}

// Dispatches in the phases so far.
std::uint32_t dispatches_in(const Schedule& s) {
  if (s.phases.empty()) return 0;
  const Phase& last = s.phases.back();
  return last.number + static_cast<std::uint32_t>(last.end - last.first);
}

/// Appends a record's tiles: to the last phase where that is `open`. There must be room for the task. The record's constants
/// are the replay's, at `replay_constants`, unless that is none.
constexpr std::uint32_t none = UINT32_MAX;
void append(Schedule& to, const Record& r, Arena& arena, int threads, bool& open,
            std::uint32_t replay_constants = none) {
  if (r.barrier_before) open = false;
  const Grid tile = *r.block;
  const CpuKernel& kernel = cpu_kernel(r);
  if (!r.grid.x || !r.grid.y || !r.grid.z) return;
  // At most max_blocks together: the encoder has checked.
  const auto tiles_x = static_cast<std::uint32_t>(blocks_along(r.grid.x, tile.x));
  const auto tiles_y = static_cast<std::uint32_t>(blocks_along(r.grid.y, tile.y));
  const std::uint32_t tiles = tiles_x * tiles_y * static_cast<std::uint32_t>(blocks_along(r.grid.z, tile.z));
  // Tiles are counted in 32 bits; an extra barrier does no harm.
  if (open && to.phases.back().tiles > max_blocks) open = false;
  if (!open) {
    const Task* begin = to.tasks.data() + to.tasks.size();
    to.phases.push_back({begin, begin, 0, 0, dispatches_in(to), nullptr});
  }
  open = true;
  const std::size_t n = r.kernel->def->access.size();
  auto* buffers = reinterpret_cast<std::byte**>(arena.take(n * (sizeof(void*) + sizeof(std::size_t))));
  auto* sizes = reinterpret_cast<std::size_t*>(buffers + n);
  for (std::size_t i = 0; i < n; ++i) {
    buffers[i] = cpu_address(r.bindings[i].allocation->memory) + r.bindings[i].offset;
    sizes[i] = r.bindings[i].bytes;
  }
  Phase& phase = to.phases.back();
  to.tasks.push_back({kernel.run, buffers, sizes, replay_constants == none ? r.constants : nullptr, replay_constants,
                      phase.tiles, phase.tiles + tiles, tiles_x, tiles_y, tile, r.grid, r.shared_bytes != 0,
                      threads > 1 && kernel.restartable, &r});
  ++phase.end;
  phase.tiles += tiles;
  phase.share = static_cast<std::uint32_t>(blocks_along(phase.tiles, static_cast<std::uint64_t>(threads)));
  to.widest = std::max(to.widest, phase.tiles);
}

/// Appends a plan's phases.
void append(Schedule& to, const PlanCall& call) {
  const Schedule& plan = static_cast<const CpuPlan&>(*call.plan->prepared).schedule;
  const std::uint32_t before = dispatches_in(to);
  for (const Phase& p : plan.phases) {
    Phase& phase = to.phases.emplace_back(p);
    phase.number += before;
    phase.constants = call.constants;
  }
  to.widest = std::max(to.widest, plan.widest);
}

std::shared_ptr<Job> prepare(Recording& recording, int threads) {
  auto job = std::make_shared<Job>();
  job->tasks.reserve(recording.records.size());
  bool open = false;
  auto call = recording.calls.begin();
  for (std::size_t i = 0; i <= recording.records.size(); ++i) {
    for (; call != recording.calls.end() && call->at == i; ++call) {
      append(*job, *call);
      open = false;
    }
    if (i < recording.records.size()) append(*job, recording.records[i], recording.arena, threads, open);
  }
  if (!job->phases.empty()) job->lanes = std::make_unique<Lane[]>(static_cast<std::size_t>(threads));
  return job;
}

// One of the threads at work on a job.
struct Hand {
  std::byte* scratch;
  Job::Member* notes;  // null: nobody watches
  std::uint32_t lane;
  Attempt* attempt;  // null: nobody else may do its tiles
};

// A thread has left a tile that another one has taken over.
void straggler_back(Job& job) {
  if (job.stragglers.back()) job.submission->let_go();
}

// Whether the tile just run was its thread's to write.
bool was_own(CpuJob& tile) {
  if (tile.answer == CpuJob::Answer::none) [[unlikely]] {
    tile.submission->fail_with(Errc::kernel_failed, [&] {
      return fmt::format("kernel {} is restartable and did not ask may_write()", tile.record->kernel->def->name);
    });
    return tile.attempt->close();
  }
  return std::exchange(tile.answer, CpuJob::Answer::none) == CpuJob::Answer::yes;
}

// A tile's place in its grid, in tiles.
struct Place {
  std::uint32_t x, y = 0, z = 0;
  Place(const Task& task, std::uint32_t tile) : x(tile - task.first_tile) {
    if (x < task.tiles_x) return;
    y = x / task.tiles_x;
    x %= task.tiles_x;
    z = y / task.tiles_y;
    y %= task.tiles_y;
  }
  void advance(const Task& task) {
    if (++x < task.tiles_x) return;
    x = 0;
    if (++y < task.tiles_y) return;
    y = 0;
    ++z;
  }
  void set(CpuTile& t, const Task& task) const {
    const Grid tile = task.tile, grid = task.grid;
    t.x0 = x * tile.x;
    t.x1 = t.x0 + std::min(grid.x - t.x0, tile.x);
    t.y0 = y * tile.y;
    t.y1 = t.y0 + std::min(grid.y - t.y0, tile.y);
    t.z0 = z * tile.z;
    t.z1 = t.z0 + std::min(grid.z - t.z0, tile.z);
  }
};

// Makes `t` the whole of a dispatch as one tile; all but what is the same for all of one thread.
inline void describe(CpuTile& t, const Phase& phase, const Task& task) {
  t.x1 = task.grid.x;
  t.y1 = task.grid.y;
  t.z1 = task.grid.z;
  t.grid = task.grid;
  t.buffers = task.buffers;
  t.sizes = task.sizes;
  t.constants = task.constants ? task.constants : phase.constants + task.replay_constants;
}
CpuTile no_tile(const Hand& hand, CpuJob& owner) {
  return {0, 0, 0, 0, 0, 0, {}, nullptr, nullptr, nullptr, hand.scratch, &owner};
}
CpuTile whole(const Phase& phase, const Task& task, const Hand& hand, CpuJob& owner) {
  CpuTile t = no_tile(hand, owner);
  describe(t, phase, task);
  return t;
}

// The dispatches from `task` on that are a single tile, by a thread that nobody watches or takes over. The tile is filled
// anew only in what differs: with a kernel that does nothing, filling it is most of their three nanoseconds.
inline bool is_single(const Task& task, const Hand& hand) {
  return task.end_tile - task.first_tile == 1 && !(task.restartable && hand.attempt);
}
inline const Task* run_singles(const Job& job, const Phase& phase, const Task* task, Tiles& mine, const Hand& hand) {
  CpuJob owner{job.submission.get(), nullptr};
  CpuTile t = no_tile(hand, owner);
  for (; mine && is_single(*task, hand); ++task) {
    owner.record = task->record;
    describe(t, phase, *task);
    call_kernel(task->run, t);
    mine = {mine.begin + 1, mine.end, mine.ran + 1};
  }
  return task;
}

// Those of a thread's tiles that are this dispatch's. False: another thread has taken over what was left.
inline bool run_tiles(const Job& job, const Phase& phase, const Task& task, Tiles& mine, const Hand& hand) {
  const std::uint32_t end = std::min(mine.end, task.end_tile);
  if (task.needs_scratch && !hand.scratch) [[unlikely]] {
    job.submission->fail_with(Errc::out_of_memory, [&] {
      return fmt::format("kernel {}: no memory for scratch", task.record->kernel->def->name);
    });
    mine = {end, mine.end, mine.ran + end - mine.begin};
    return true;
  }
  CpuJob owner{job.submission.get(), task.record, task.restartable ? hand.attempt : nullptr};
  CpuTile t = whole(phase, task, hand, owner);
  const auto number = static_cast<std::uint32_t>(&phase - job.phases.data());
  for (Place place(task, mine.begin);; place.advance(task)) {
    place.set(t, task);
    if (owner.attempt) owner.attempt->open(mine, number);
    call_kernel(task.run, t);
    if (owner.attempt && !was_own(owner)) return false;
    ++mine.ran;
    if (++mine.begin == end) return true;
  }
}

// The same, making sure that they write nothing but what their kernel declares; and nothing at all where they may not. A
// check that there is no memory for is left out.
void run_tiles_checked(const Job& job, const Phase& phase, const Task& task, Tiles& mine, Hand hand) {
  const auto check_writes = [&](bool fresh, WriteCheck::Allowed allowed) {
    return if_memory([&] { return std::make_optional<WriteCheck>(*task.record, fresh, allowed); });
  };
  const auto fail_where = [&](const std::optional<WriteCheck>& check, std::string_view when) {
    if (check && check->any_violation())
      job.submission->fail_with(Errc::kernel_failed, [&] {
        return fmt::format("kernel {} {}{}", task.record->kernel->def->name, check->violation(), when);
      });
  };
  hand.attempt = nullptr;  // who takes over would write meanwhile
  const std::uint32_t end = std::min(mine.end, task.end_tile);
  const bool fresh = mine.begin == task.first_tile;
  if (cpu_kernel(*task.record).restartable && hand.scratch) {
    const auto check = check_writes(fresh, WriteCheck::Allowed::nothing);
    for (std::uint32_t tile = mine.begin; tile < end; ++tile) {
      CpuJob refused{job.submission.get(), task.record, nullptr, CpuJob::Answer::no};
      CpuTile t = whole(phase, task, hand, refused);
      Place(task, tile).set(t, task);
      call_kernel(task.run, t);
    }
    fail_where(check, " without asking may_write()");
  }
  const auto check = check_writes(fresh, WriteCheck::Allowed::declared);
  while (mine.begin < end) {
    if (hand.scratch) std::memset(hand.scratch, poison, task.record->shared_bytes);
    Tiles one = {mine.begin, mine.begin + 1, mine.ran};
    run_tiles(job, phase, task, one, hand);
    mine = {one.end, mine.end, one.ran};
  }
  fail_where(check, "");
}

// The same, noting what runs and how long.
bool run_tiles_watched(const Job& job, const Phase& phase, const Task& task, Tiles& mine, const Hand& hand) {
  const Submission& s = *job.submission;
  hand.notes->running.store(task.record->kernel->def, std::memory_order_relaxed);
  const auto started = Clock::now();
  bool done = true;
  if (s.device->validate) run_tiles_checked(job, phase, task, mine, hand);
  else done = run_tiles(job, phase, task, mine, hand);
  if (done && s.device->profiler) {
    const auto dispatch = phase.number + static_cast<std::uint32_t>(&task - phase.first);
    if_memory([&] { hand.notes->spans.push_back({task.record, dispatch, hand.lane, started, Clock::now()}); });
  }
  hand.notes->running.store(nullptr, std::memory_order_relaxed);
  return done;
}

// A thread's tiles of a phase. Where another thread has taken over, none are left of them, counted or not.
void run_phase(Job& job, const Phase& phase, Tiles& mine, const Hand& hand) {
  const Task* task = phase.first;
  if (mine.begin >= task->end_tile)
    task = std::upper_bound(task, phase.end, mine.begin,
                            [](std::uint32_t tile, const Task& t) { return tile < t.end_tile; });
  const bool plain = !hand.notes && hand.scratch;
  for (; mine; ++task) {
    if (plain && is_single(*task, hand)) {
      task = run_singles(job, phase, task, mine, hand);
      if (!mine) return;
    }
    const bool done =
        hand.notes ? run_tiles_watched(job, phase, *task, mine, hand) : run_tiles(job, phase, *task, mine, hand);
    if (done) [[likely]]
      continue;
    mine = {};
    return straggler_back(job);
  }
}

// Claims some of a lane's tiles for a thread, fewer towards its end; false where there are none left. Succeeds only in the
// open phase: as long as a tile of a phase is unclaimed it is not over, and then the lane does not say that this one is
// claimed.
bool claim(Lane& lane, std::uint32_t index, std::uint32_t phase, const Phase& p, Tiles& to) {
  const std::uint32_t first = std::min(p.tiles, index * p.share), end = std::min(p.tiles, first + p.share);
  std::uint64_t seen = lane.next.load(std::memory_order_relaxed);
  while (true) {
    const auto in = static_cast<std::int32_t>(seen >> 32);
    if (in > static_cast<std::int32_t>(phase)) return false;
    const std::uint32_t begin = in == static_cast<std::int32_t>(phase) ? static_cast<std::uint32_t>(seen) : first;
    if (begin >= end) return false;
    const std::uint32_t stop = p.share == p.tiles ? p.tiles : begin + std::max<std::uint32_t>(1, (end - begin) / 2);
    const std::uint64_t then = (std::uint64_t{phase} << 32) | stop;
    if (lane.next.compare_exchange_weak(seen, then, std::memory_order_relaxed)) {
      to = {begin, stop, to.ran};
      return true;
    }
  }
}

// Makes `phase` the open one, and wakes who sleeps until then.
void open_phase(Job& job, std::uint32_t phase) {
  job.done.store(0, std::memory_order_relaxed);
  job.phase.store(phase);  // sequentially consistent with `sleeping`: one of the two threads sees the other's
  if (job.sleeping.load() == 0) return;
  const std::lock_guard lock(job.mutex);
  job.opened.notify_all();
}

// Parts threads that have come to share a core: one of them would wait for the other. The scheduler moves a thread to an idle
// core by itself; but where other programs keep all cores busy, it sees no reason to.
void spread(Job& job, std::uint32_t lane, std::uint32_t lanes) {
  const int here = current_core();
  bool shared = false;
  for (std::uint32_t i = 0; i < lanes; ++i)
    shared |= i != lane && job.lanes[i].core.load(std::memory_order_relaxed) == here;
  if (shared && here >= 0) {
    std::array<int, CpuOptions::max_threads> taken;
    std::size_t others = 0;
    for (std::uint32_t i = 0; i < lanes; ++i)
      if (i != lane) taken[others++] = job.lanes[i].core.load(std::memory_order_relaxed);
    leave_cores(std::span(taken).first(others));
  }
  job.lanes[lane].core.store(current_core(), std::memory_order_relaxed);
}

// Waits until a phase after `seen` is open: for a moment on the core, where others are at work on tiles of some
// microseconds. Then, where it `may_take`, returns the tiles of a thread that has lost its core and may be redone. If not, it
// sleeps: whoever has slept meanwhile is owed that time by the scheduler and gets its core at once when woken, so that the
// threads run at the same time again.
Tiles await_phase(Job& job, std::uint32_t seen, std::uint32_t lane, std::uint32_t lanes, bool may_take) {
  const auto opened = [&] {
    return job.phase.load(std::memory_order_acquire) != seen || job.abandoned.load(std::memory_order_relaxed);
  };
  while (!spin_until(opened)) {
    for (std::uint32_t i = 0; may_take && i < lanes; ++i) {
      Lane& other = job.lanes[i];
      if (i == lane || !other.attempt.is_open() || !stands_still(other.clock.load(std::memory_order_relaxed))) continue;
      if (const Tiles left = other.attempt.take_over(seen)) {
        job.stragglers.add();
        return left;
      }
    }
    std::unique_lock lock(job.mutex);
    job.sleeping.fetch_add(1);
    const bool woken = job.opened.wait_for(lock, nap, opened);
    job.sleeping.fetch_sub(1);
    lock.unlock();
    if (!woken) continue;
    spread(job, lane, lanes);
    break;
  }
  return {};
}

// Opens the next phase that needs more than one thread, having run those of a single tile. False where the job has
// finished.
bool advance(Job& job, std::uint32_t phase, int threads, Hand hand) {
  hand.attempt = nullptr;  // nobody else is in these phases
  const auto last = static_cast<std::uint32_t>(job.phases.size());
  for (++phase; phase < last && !job.submission->failed.load(std::memory_order_relaxed); ++phase) {
    const Phase& p = job.phases[phase];
    if (p.tiles > 1 && threads > 1) {
      open_phase(job, phase);
      return true;
    }
    Tiles all = {0, p.tiles};
    run_phase(job, p, all, hand);
  }
  open_phase(job, last);
  return false;
}

// Works on the job until it has finished. True for the one thread that finished it.
bool work(Job& job, int threads, bool take_over, const Hand& hand) {
  const InKernelsOf here(*job.submission);
  const auto lanes = static_cast<std::uint32_t>(threads);
  job.lanes[hand.lane].clock.store(this_thread_clock(), std::memory_order_relaxed);
  spread(job, hand.lane, lanes);
  // A thread takes over once a phase: two that each take the other for absent, as on one core they are in turn, come to an
  // end.
  std::uint32_t taken_in = none;
  for (std::uint32_t phase; (phase = job.phase.load(std::memory_order_acquire)) < job.phases.size();) {
    const Phase& p = job.phases[phase];
    Tiles mine;
    for (std::uint32_t i = 0; i < lanes; ++i) {  // its own lane first
      const std::uint32_t lane = hand.lane + i < lanes ? hand.lane + i : hand.lane + i - lanes;
      while (claim(job.lanes[lane], lane, phase, p, mine)) run_phase(job, p, mine, hand);
    }
    do {
      if (mine.ran && job.done.fetch_add(mine.ran, std::memory_order_acq_rel) + mine.ran == p.tiles) {
        if (!advance(job, phase, threads, hand)) return true;
        break;
      }
      mine = await_phase(job, phase, hand.lane, lanes, take_over && taken_in != phase);
      if (mine) taken_in = phase;
      if (job.abandoned.load(std::memory_order_relaxed)) return false;
      if (mine) run_phase(job, p, mine, hand);  // none: the phase is over, and its tasks may be gone
    } while (mine.ran);
  }
  return false;
}

// A thread's scratch. Untouched pages of it cost nothing, so each has the most that a dispatch may ask for.
struct ScratchMemory {
  std::unique_ptr<std::byte[]> owner{new (std::nothrow) std::byte[max_shared_bytes + 63]};
  std::byte* aligned() const {
    if (!owner) return nullptr;
    const auto at = reinterpret_cast<std::uintptr_t>(owner.get());
    return reinterpret_cast<std::byte*>((at + 63) & ~std::uintptr_t{63});
  }
};

// That of a thread which waits, made on first use; null where there is no memory for it now.
std::byte* waiter_scratch() {
  thread_local ScratchMemory mine;
  if (!mine.owner) [[unlikely]]
    mine = {};
  return mine.aligned();
}

}  // namespace

std::unique_ptr<const CpuPlan> prepare_plan(const PlanState& p, int threads) {
  auto plan = std::make_unique<CpuPlan>();
  const auto& records = p.recording->records;
  std::vector<std::uint32_t> constants(records.size(), none);
  for (const PlanState::Patched& patched : p.patched) constants[patched.record] = patched.at;
  plan->schedule.tasks.reserve(records.size());
  bool open = false;
  for (std::size_t i = 0; i < records.size(); ++i)
    append(plan->schedule, records[i], plan->arena, threads, open, constants[i]);
  return plan;
}

struct Team::Shared {
  Shared(int n, bool w, bool t) : threads(n), watched(w), take_over(t) {}

  const int threads;
  const bool watched, take_over;
  bool lost = false;  // a job did not finish in time; it stays the current one for as long as it takes
  std::mutex mutex;
  std::condition_variable work_there, work_done;
  JobQueue queue;
  std::shared_ptr<Job> current;
  int sleeping_workers = 0, sleeping_waiters = 0;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> news{0};       // changes whenever there is a new current job, or the end
  std::atomic<std::uint64_t> completed{0};  // the last completed sequence number

  // A place in the current job, if there is one to take. `seen` becomes the news this answer is about: asking again makes
  // sense only after it has changed.
  std::shared_ptr<Job> join(std::uint64_t& seen, std::uint32_t& lane) {
    const std::lock_guard lock(mutex);
    seen = news.load(std::memory_order_relaxed);
    if (!current || current->members >= threads || lost) return nullptr;
    lane = static_cast<std::uint32_t>(current->members++);
    return current;
  }

  // Makes the first queued job that has anything to do the current one. Those that have not, complete here.
  void start_next(std::unique_lock<std::mutex>& lock, int to_wake) {
    while (!current && !queue.empty()) {
      std::shared_ptr<Job> job = queue.pop();
      Submission& s = *job->submission;
      s.started = Clock::now();
      s.fail_with_dependency();
      if (!job->phases.empty() && !s.failed.load()) {
        s.status.store(CommandBufferStatus::running, std::memory_order_release);
        current = std::move(job);
        news.fetch_add(1, std::memory_order_release);
        // A job of single tiles keeps one thread busy: whoever waits for it, or else a worker.
        if (current->widest == 1 && to_wake < threads) to_wake = 0;
        for (int i = std::min(to_wake, sleeping_workers); i > 0; --i) work_there.notify_one();
        return;
      }
      // Nobody else can start another job meanwhile: `starting` holds the place while the lock is open.
      starting = true;
      lock.unlock();
      complete(*job);
      job.reset();
      lock.lock();
      starting = false;
      if (sleeping_waiters) work_done.notify_all();
    }
  }

  void complete(Job& job) {
    job.submission->ended = Clock::now();
    const std::uint64_t sequence = job.submission->sequence;
    Profiler* profiler = job.submission->device->profiler.get();
    if (profiler && job.submission->status.load() == CommandBufferStatus::running) {
      const auto spans = if_memory([&] {
        std::vector<Profiler::Span> all;
        for (int i = 0; i < threads; ++i) {
          const auto& more = job.notes[static_cast<std::size_t>(i)].spans;
          all.insert(all.end(), more.begin(), more.end());
        }
        return all;
      });
      profiler->add(*job.submission, spans);
    }
    job.submission->complete(job.stragglers.outlive(job.submission->device->held_back));
    completed.store(sequence, std::memory_order_release);
  }

  // Called by the thread that ran the last tile.
  void finish(const std::shared_ptr<Job>& job) {
    if (watched) {  // either it has finished or it is given up: who is late does not touch what completes
      const std::lock_guard lock(mutex);
      job->finished = true;
    }
    complete(*job);
    std::unique_lock lock(mutex);
    current.reset();
    start_next(lock, threads);
    if (sleeping_waiters) work_done.notify_all();
  }

  // Works on the current job, if it has a place. A thread that waits may be without scratch; then it leaves it to others.
  void take_part(std::uint64_t& seen, std::byte* scratch) {
    std::uint32_t lane = 0;
    if (!scratch) [[unlikely]] {
      seen = news.load(std::memory_order_acquire);
      return;
    }
    const std::shared_ptr<Job> job = join(seen, lane);
    if (!job) return;
    const Hand hand = {scratch, job->notes ? &job->notes[lane] : nullptr, lane, &job->lanes[lane].attempt};
    if (work(*job, threads, take_over, hand)) finish(job);
  }

  // Gives up the running job, and with it the device: what is queued fails, and nothing is started again.
  void lose(std::unique_lock<std::mutex>& lock, Job& stuck) {
    const std::string running = if_memory([&] {
      std::string names;
      for (int i = 0; i < stuck.members; ++i) {
        const KernelDef* def = stuck.notes[static_cast<std::size_t>(i)].running.load(std::memory_order_relaxed);
        if (def && names.find(def->name) == std::string::npos)
          names += fmt::format("{}{}", names.empty() ? "" : ", ", def->name);
      }
      return names;
    });
    lost = true;
    stuck.submission->device->lose(*stuck.submission, running);
    stuck.abandoned.store(true, std::memory_order_relaxed);
    {
      const std::lock_guard asleep(stuck.mutex);
      stuck.opened.notify_all();
    }
    JobQueue queued = std::exchange(queue, {});
    lock.unlock();
    while (!queued.empty()) queued.pop()->submission->abandon();
    lock.lock();
    work_done.notify_all();
  }

  bool starting = false;
};

Team::Team(int threads, bool watched, bool take_over)
    : shared_(std::make_shared<Shared>(threads, watched, take_over)) {}

Result<void> Team::start() {
  // The waiting thread is the last member, unless it only watches.
  const auto workers =
      static_cast<std::size_t>(shared_->watched ? shared_->threads : std::max(1, shared_->threads - 1));
  // Their scratch is from the thread that opens the device: a worker asks for no memory.
  const auto scratch = std::make_shared<std::vector<ScratchMemory>>(workers);
  if (std::any_of(scratch->begin(), scratch->end(), [](const ScratchMemory& m) { return !m.owner; }))
    throw std::bad_alloc();
  return start_threads(workers_, workers, [s = shared_, scratch](std::size_t i) {
    std::uint64_t seen = 0;
    while (true) {
      s->take_part(seen, (*scratch)[i].aligned());
      const auto changed = [&] {
        return s->news.load(std::memory_order_acquire) != seen || s->stop.load(std::memory_order_acquire);
      };
      if (!spin_until(changed)) {
        std::unique_lock lock(s->mutex);
        ++s->sleeping_workers;
        s->work_there.wait(lock, changed);
        --s->sleeping_workers;
      }
      if (s->stop.load(std::memory_order_acquire)) return;
    }
  });
}

Team::~Team() {
  if (forks_ != forks()) {  // the workers are another process's, and keep what they share as it is
    for (auto& w : workers_) w.detach();
    return;
  }
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop.store(true, std::memory_order_release);
    shared_->news.fetch_add(1, std::memory_order_release);
    shared_->work_there.notify_all();
  }
  for (auto& w : workers_) {
    // The last reference to a device can go with the last submission, on the worker that completed it.
    if (w.get_id() == std::this_thread::get_id()) w.detach();
    else w.join();
  }
}

int Team::threads() const { return shared_->threads; }

void Team::make_ready(Submission& submission) {
  auto job = prepare(submission.recording, shared_->threads);
  const DeviceState& device = *submission.device;
  if (shared_->watched || device.validate || device.profiler)
    job->notes = std::make_unique<Job::Member[]>(static_cast<std::size_t>(shared_->threads));
  submission.prepared = std::move(job);
}

void Team::submit(std::shared_ptr<Submission> submission, bool will_wait) noexcept {
  auto job = std::static_pointer_cast<Job>(std::move(submission->prepared));
  job->submission = std::move(submission);
  will_wait = will_wait && !shared_->watched && waiter_scratch();
  std::unique_lock lock(shared_->mutex);
  if (shared_->lost) {
    lock.unlock();
    return job->submission->abandon();
  }
  shared_->queue.push(std::move(job));
  const int to_wake = shared_->threads - (will_wait ? 1 : 0);
  if (!shared_->current && !shared_->starting) shared_->start_next(lock, to_wake);
}

void Team::wait(std::uint64_t sequence) {
  Shared& s = *shared_;
  std::uint64_t seen = 0;
  const auto done = [&] { return s.completed.load(std::memory_order_acquire) >= sequence; };
  const auto changed = [&] { return done() || s.news.load(std::memory_order_acquire) != seen; };
  while (!done()) {
    s.take_part(seen, waiter_scratch());
    if (spin_until(changed)) continue;
    std::unique_lock lock(s.mutex);
    ++s.sleeping_waiters;
    s.work_done.wait(lock, changed);
    --s.sleeping_waiters;
  }
}

bool Team::wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout) {
  Shared& s = *shared_;
  const auto done = [&] { return s.completed.load(std::memory_order_acquire) >= sequence; };
  std::unique_lock lock(s.mutex);
  while (!done()) {
    if (s.lost) return false;
    const std::shared_ptr<Job> running = s.current;
    const bool may_be_late = running && !running->finished;
    const auto until = deadline(may_be_late ? running->submission->started : Clock::now(), timeout);
    const auto changed = [&] { return done() || s.lost || s.current != running; };
    ++s.sleeping_waiters;
    const bool in_time = s.work_done.wait_until(lock, until, changed);
    --s.sleeping_waiters;
    if (!in_time && may_be_late && !running->finished) s.lose(lock, *running);
  }
  return true;
}

}  // namespace cpu
}  // namespace halyard
