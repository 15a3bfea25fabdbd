#include "halyard/hal/cpu/team.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <new>

#include <fmt/format.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace halyard {

void CpuTile::fail(const char* format, long long a, long long b) const {
  char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  std::snprintf(text, sizeof text, format, a, b);
#pragma GCC diagnostic pop
  if (!job) return;  // a kernel called outside a command buffer, by a test
  const auto& owner = *static_cast<const std::pair<Submission*, const Record*>*>(job);
  owner.first->fail_with(Error{Errc::kernel_failed, fmt::format("kernel {}: {}", owner.second->kernel->def->name, text), {}});
}

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
template <class Condition>
bool spin_until(const Condition& holds) {
  const auto until = Clock::now() + spin_time;
  do {
    for (int k = 0; k < 32; ++k) {
      if (holds()) return true;
      relax();
    }
  } while (Clock::now() < until);
  return false;
}

// Pauses while the last tiles of a phase run elsewhere, before the core is offered to somebody else.
constexpr int phase_pauses = 2000;

std::uint32_t tiles_along(std::uint32_t items, std::uint32_t tile) { return items / tile + (items % tile != 0); }

/// Appends a record's tiles: to the last phase where that is `open`.
void append(Schedule& to, const Record& r, Arena& arena, bool& open) {
  if (r.barrier_before) open = false;
  const Grid tile = r.kernel->def->tile;
  Schedule::Task task{&r, 0, tiles_along(r.grid.x, tile.x), tiles_along(r.grid.y, tile.y), tiles_along(r.grid.z, tile.z),
                      {}, {}, r.constants};
  if (task.tiles() == 0) return;
  const std::size_t n = r.kernel->def->access.size();
  auto* buffers = reinterpret_cast<std::byte**>(arena.take(n * sizeof(void*)));
  auto* sizes = reinterpret_cast<std::size_t*>(arena.take(n * sizeof(std::size_t)));
  for (std::size_t i = 0; i < n; ++i) {
    buffers[i] = static_cast<std::byte*>(r.bindings[i].allocation->memory.host) + r.bindings[i].offset;
    sizes[i] = r.bindings[i].bytes;
  }
  task.buffers = buffers;
  task.sizes = sizes;
  const auto index = static_cast<std::uint32_t>(to.tasks.size());
  // Tiles are counted in 32 bits; an extra barrier does no harm.
  if (open && to.phases.back().tiles > max_tiles) open = false;
  if (!open) to.phases.push_back({index, index, 0});
  open = true;
  Schedule::Phase& phase = to.phases.back();
  task.first_tile = phase.tiles;
  phase.tiles += task.tiles();
  phase.end_task = index + 1;
  to.widest = std::max(to.widest, phase.tiles);
  to.tasks.push_back(task);
}

/// Appends a plan's phases.
void append(Schedule& to, const PlanCall& call) {
  const auto& plan = static_cast<const CpuPlan&>(*call.plan->prepared);
  const auto first = static_cast<std::uint32_t>(to.tasks.size());
  to.tasks.insert(to.tasks.end(), plan.schedule.tasks.begin(), plan.schedule.tasks.end());
  for (const Schedule::Phase& p : plan.schedule.phases)
    to.phases.push_back({first + p.first_task, first + p.end_task, p.tiles});
  for (const CpuPlan::Patch& p : plan.patches) to.tasks[first + p.task].constants = call.constants + p.at;
  to.widest = std::max(to.widest, plan.schedule.widest);
}

std::unique_ptr<Job> prepare(std::shared_ptr<Submission> submission) {
  auto job = std::make_unique<Job>();
  Recording& recording = submission->recording;
  job->tasks.reserve(recording.records.size());
  bool open = false;
  auto call = recording.calls.begin();
  for (std::size_t i = 0; i <= recording.records.size(); ++i) {
    for (; call != recording.calls.end() && call->at == i; ++call) {
      append(*job, *call);
      open = false;
    }
    if (i < recording.records.size()) append(*job, recording.records[i], recording.arena, open);
  }
  job->submission = std::move(submission);
  return job;
}

void run_tile(const Job& job, const Job::Task& task, std::uint32_t index, std::byte* scratch) {
  const Record& r = *task.record;
  if (r.shared_bytes && !scratch) [[unlikely]]
    return job.submission->fail_with({Errc::out_of_memory, fmt::format("kernel {}: no memory for scratch", r.kernel->def->name), {}});
  const Grid tile = r.kernel->def->tile;
  const std::uint32_t x = index % task.tiles_x * tile.x;
  const std::uint32_t y = index / task.tiles_x % task.tiles_y * tile.y;
  const std::uint32_t z = index / task.tiles_x / task.tiles_y * tile.z;
  std::pair<Submission*, const Record*> owner{job.submission.get(), &r};
  r.kernel->cpu({x, std::min(r.grid.x - x, tile.x) + x, y, std::min(r.grid.y - y, tile.y) + y, z,
                 std::min(r.grid.z - z, tile.z) + z, r.grid, task.buffers, task.sizes, task.constants, scratch, &owner});
}

// Tiles [begin, end) of a phase.
void run_tiles(const Job& job, const Job::Phase& phase, std::uint32_t begin, std::uint32_t end, std::byte* scratch) {
  std::uint32_t t = phase.first_task;
  while (begin < end) {
    while (job.tasks[t].first_tile + job.tasks[t].tiles() <= begin) ++t;
    const Job::Task& task = job.tasks[t];
    const std::uint32_t stop = std::min(end, task.first_tile + task.tiles());
    for (; begin < stop; ++begin) run_tile(job, task, begin - task.first_tile, scratch);
  }
}

// A guided share: large claims first, single tiles at the end, so that the threads finish together.
std::uint32_t share(std::uint32_t left, int threads) {
  return std::max<std::uint32_t>(1, left / (2 * static_cast<std::uint32_t>(threads)));
}

// Opens the next phase that needs more than one thread, having run those of a single tile; claims the first tiles of it
// for the caller and returns how many (0: the job has finished).
std::uint32_t advance(Job& job, std::uint32_t& phase, int threads, std::byte* scratch) {
  const auto last = static_cast<std::uint32_t>(job.phases.size());
  for (++phase; phase < last && !job.submission->failed.load(std::memory_order_relaxed); ++phase) {
    const Job::Phase& p = job.phases[phase];
    if (p.tiles == 1 || threads == 1) {
      run_tiles(job, p, 0, p.tiles, scratch);
      continue;
    }
    const std::uint32_t take = share(p.tiles, threads);
    job.done.store(0, std::memory_order_relaxed);
    job.cursor.store((std::uint64_t{phase} << 32) | take, std::memory_order_release);
    return take;
  }
  phase = last;
  job.cursor.store(std::uint64_t{last} << 32, std::memory_order_release);
  return 0;
}

// Works on the job until it has finished. True for the one thread that finished it.
bool work(Job& job, int threads, std::byte* scratch) {
  const auto last = static_cast<std::uint32_t>(job.phases.size());
  int pauses = 0;
  while (true) {
    std::uint64_t seen = job.cursor.load(std::memory_order_acquire);
    auto phase = static_cast<std::uint32_t>(seen >> 32);
    if (phase >= last) return false;
    auto begin = static_cast<std::uint32_t>(seen);
    const std::uint32_t tiles = job.phases[phase].tiles;
    if (begin >= tiles) {  // the rest is being run elsewhere
      if (++pauses < phase_pauses) relax();
      else std::this_thread::yield();
      continue;
    }
    std::uint32_t take = share(tiles - begin, threads);
    if (!job.cursor.compare_exchange_weak(seen, seen + take, std::memory_order_acq_rel)) continue;
    pauses = 0;
    while (true) {
      run_tiles(job, job.phases[phase], begin, begin + take, scratch);
      if (job.done.fetch_add(take, std::memory_order_acq_rel) + take != job.phases[phase].tiles) break;
      take = advance(job, phase, threads, scratch);
      if (take == 0) return true;
      begin = 0;
    }
  }
}

}  // namespace

std::unique_ptr<const CpuPlan> prepare_plan(const PlanState& p) {
  auto plan = std::make_unique<CpuPlan>();
  constexpr auto none = UINT32_MAX;
  std::vector<std::uint32_t> task_of;  // by record
  bool open = false;
  for (const Record& r : p.recording->records) {
    const auto task = static_cast<std::uint32_t>(plan->schedule.tasks.size());
    append(plan->schedule, r, plan->arena, open);
    task_of.push_back(plan->schedule.tasks.size() > task ? task : none);
  }
  for (const PlanState::Patched& patched : p.patched)
    if (task_of[patched.record] != none) plan->patches.push_back({task_of[patched.record], patched.at});
  return plan;
}

struct Team::Shared {
  explicit Shared(int n) : threads(n) {}

  const int threads;
  std::mutex mutex;
  std::condition_variable work_there, work_done;
  std::deque<std::shared_ptr<Job>> queue;
  std::shared_ptr<Job> current;
  int sleeping_workers = 0, sleeping_waiters = 0;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> news{0};       // changes whenever there is a new current job, or the end
  std::atomic<std::uint64_t> completed{0};  // the last completed sequence number

  // A place in the current job, if there is one to take. `seen` becomes the news this answer is about: asking again makes
  // sense only after it has changed.
  std::shared_ptr<Job> join(std::uint64_t& seen) {
    const std::lock_guard lock(mutex);
    seen = news.load(std::memory_order_relaxed);
    if (!current || current->members >= threads) return nullptr;
    ++current->members;
    return current;
  }

  // Makes the first queued job that has anything to do the current one. Those that have not, complete here.
  void start_next(std::unique_lock<std::mutex>& lock, int to_wake) {
    while (!current && !queue.empty()) {
      std::shared_ptr<Job> job = std::move(queue.front());
      queue.pop_front();
      Submission& s = *job->submission;
      s.started = Clock::now();
      if (auto failure = s.dependency_failure()) s.fail_with(std::move(*failure));
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
    job.submission->complete();
    completed.store(sequence, std::memory_order_release);
  }

  // Called by the thread that ran the last tile.
  void finish(const std::shared_ptr<Job>& job) {
    complete(*job);
    std::unique_lock lock(mutex);
    current.reset();
    start_next(lock, threads);
    if (sleeping_waiters) work_done.notify_all();
  }

  bool starting = false;
};

namespace {

std::byte* aligned_scratch(std::unique_ptr<std::byte[]>& owner) {
  // Untouched pages of it cost nothing, so each thread has the most that a dispatch may ask for.
  owner.reset(new (std::nothrow) std::byte[max_shared_bytes + 63]);
  if (!owner) return nullptr;
  const auto at = reinterpret_cast<std::uintptr_t>(owner.get());
  return reinterpret_cast<std::byte*>((at + 63) & ~std::uintptr_t{63});
}

// The calling thread's scratch, made on first use.
std::byte* scratch() {
  thread_local std::unique_ptr<std::byte[]> owner;
  thread_local std::byte* const bytes = aligned_scratch(owner);
  return bytes;
}

}  // namespace

Team::Team(int threads) : shared_(std::make_shared<Shared>(threads)) {
  const int workers = std::max(1, threads - 1);  // the waiting thread is the last member
  for (int i = 0; i < workers; ++i) {
    workers_.emplace_back([s = shared_] {
      std::uint64_t seen = 0;
      while (true) {
        if (std::shared_ptr<Job> job = s->join(seen)) {
          if (work(*job, s->threads, scratch())) s->finish(job);
        }
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
}

Team::~Team() {
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

void Team::submit(std::shared_ptr<Submission> submission, bool will_wait) {
  std::shared_ptr<Job> job = prepare(std::move(submission));
  std::unique_lock lock(shared_->mutex);
  shared_->queue.push_back(std::move(job));
  if (!shared_->current && !shared_->starting) shared_->start_next(lock, shared_->threads - (will_wait ? 1 : 0));
}

void Team::wait(std::uint64_t sequence) {
  Shared& s = *shared_;
  std::uint64_t seen = 0;
  const auto done = [&] { return s.completed.load(std::memory_order_acquire) >= sequence; };
  const auto changed = [&] { return done() || s.news.load(std::memory_order_acquire) != seen; };
  while (!done()) {
    if (std::shared_ptr<Job> job = s.join(seen)) {
      if (work(*job, s.threads, scratch())) s.finish(job);
    }
    if (spin_until(changed)) continue;
    std::unique_lock lock(s.mutex);
    ++s.sleeping_waiters;
    s.work_done.wait(lock, changed);
    --s.sleeping_waiters;
  }
}

}  // namespace cpu
}  // namespace halyard
