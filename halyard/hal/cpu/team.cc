#include "halyard/hal/cpu/team.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "halyard/hal/validate.h"

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

// One of the threads at work on a job.
struct Hand {
  std::byte* scratch;
  Job::Member* notes;  // null: nobody watches
  std::uint32_t lane;
};

void run_tiles(const Job& job, const Job::Task& task, std::uint32_t begin, std::uint32_t end, const Hand& hand) {
  for (; begin < end; ++begin) run_tile(job, task, begin, hand.scratch);
}

// The same, making sure that they write nothing but what their kernel declares.
void run_tiles_checked(const Job& job, const Job::Task& task, std::uint32_t begin, std::uint32_t end, const Hand& hand) {
  const WriteCheck check(*task.record, begin == 0);
  for (; begin < end; ++begin) {
    if (hand.scratch) std::memset(hand.scratch, poison, task.record->shared_bytes);
    run_tile(job, task, begin, hand.scratch);
  }
  if (const std::string wrong = check.violation(); !wrong.empty())
    job.submission->fail_with({Errc::kernel_failed, fmt::format("kernel {} {}", task.record->kernel->def->name, wrong), {}});
}

// The same, noting what runs and how long.
void run_tiles_watched(const Job& job, const Job::Task& task, std::uint32_t begin, std::uint32_t end, const Hand& hand) {
  const Submission& s = *job.submission;
  hand.notes->running.store(task.record->kernel->def, std::memory_order_relaxed);
  const auto started = Clock::now();
  if (s.device->validate) run_tiles_checked(job, task, begin, end, hand);
  else run_tiles(job, task, begin, end, hand);
  if (s.device->profiler) {
    const auto dispatch = static_cast<std::uint32_t>(&task - job.tasks.data());
    hand.notes->spans.push_back({task.record, dispatch, hand.lane, started, Clock::now()});
  }
  hand.notes->running.store(nullptr, std::memory_order_relaxed);
}

// Tiles [begin, end) of a phase.
void run_phase(const Job& job, const Job::Phase& phase, std::uint32_t begin, std::uint32_t end, const Hand& hand) {
  std::uint32_t t = phase.first_task;
  while (begin < end) {
    while (job.tasks[t].first_tile + job.tasks[t].tiles() <= begin) ++t;
    const Job::Task& task = job.tasks[t];
    const std::uint32_t stop = std::min(end, task.first_tile + task.tiles());
    const auto run = hand.notes ? run_tiles_watched : run_tiles;
    run(job, task, begin - task.first_tile, stop - task.first_tile, hand);
    begin = stop;
  }
}

// A guided share: large claims first, single tiles at the end, so that the threads finish together.
std::uint32_t share(std::uint32_t left, int threads) {
  return std::max<std::uint32_t>(1, left / (2 * static_cast<std::uint32_t>(threads)));
}

// Opens the next phase that needs more than one thread, having run those of a single tile; claims the first tiles of it
// for the caller and returns how many (0: the job has finished).
std::uint32_t advance(Job& job, std::uint32_t& phase, int threads, const Hand& hand) {
  const auto last = static_cast<std::uint32_t>(job.phases.size());
  for (++phase; phase < last && !job.submission->failed.load(std::memory_order_relaxed); ++phase) {
    const Job::Phase& p = job.phases[phase];
    if (p.tiles == 1 || threads == 1) {
      run_phase(job, p, 0, p.tiles, hand);
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
bool work(Job& job, int threads, const Hand& hand) {
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
      if (job.abandoned.load(std::memory_order_relaxed)) return false;
      continue;
    }
    std::uint32_t take = share(tiles - begin, threads);
    if (!job.cursor.compare_exchange_weak(seen, seen + take, std::memory_order_acq_rel)) continue;
    pauses = 0;
    while (true) {
      run_phase(job, job.phases[phase], begin, begin + take, hand);
      if (job.done.fetch_add(take, std::memory_order_acq_rel) + take != job.phases[phase].tiles) break;
      take = advance(job, phase, threads, hand);
      if (take == 0) return true;
      begin = 0;
    }
  }
}

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
  Shared(int n, bool w) : threads(n), watched(w) {}

  const int threads;
  const bool watched;
  bool lost = false;  // a job did not finish in time; it stays the current one for as long as it takes
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
    Profiler* profiler = job.submission->device->profiler.get();
    if (profiler && job.submission->status.load() == CommandBufferStatus::running) {
      std::vector<Profiler::Span> spans;
      for (int i = 0; i < threads; ++i) {
        const auto& more = job.notes[static_cast<std::size_t>(i)].spans;
        spans.insert(spans.end(), more.begin(), more.end());
      }
      profiler->add(*job.submission, spans);
    }
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

  // Works on the current job, if it has a place.
  void take_part(std::uint64_t& seen) {
    std::uint32_t lane = 0;
    const std::shared_ptr<Job> job = join(seen, lane);
    if (!job) return;
    if (work(*job, threads, {scratch(), job->notes ? &job->notes[lane] : nullptr, lane})) finish(job);
  }

  // Gives up the running job, and with it the device: what is queued fails, and nothing is started again.
  void lose(std::unique_lock<std::mutex>& lock, Job& stuck) {
    std::string running;
    for (int i = 0; i < stuck.members; ++i) {
      const KernelDef* def = stuck.notes[static_cast<std::size_t>(i)].running.load(std::memory_order_relaxed);
      if (def && running.find(def->name) == std::string::npos)
        running += fmt::format("{}{}", running.empty() ? "" : ", ", def->name);
    }
    lost = true;
    stuck.submission->device->lose(*stuck.submission, running);
    stuck.abandoned.store(true, std::memory_order_relaxed);
    const std::deque<std::shared_ptr<Job>> queued = std::exchange(queue, {});
    lock.unlock();
    for (const auto& job : queued) job->submission->abandon();
    lock.lock();
    work_done.notify_all();
  }

  bool starting = false;
};

Team::Team(int threads, bool watched) : shared_(std::make_shared<Shared>(threads, watched)) {
  const int workers = watched ? threads : std::max(1, threads - 1);  // the waiting thread is the last member
  for (int i = 0; i < workers; ++i) {
    workers_.emplace_back([s = shared_] {
      std::uint64_t seen = 0;
      while (true) {
        s->take_part(seen);
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
  const DeviceState& device = *job->submission->device;
  if (shared_->watched || device.validate || device.profiler)
    job->notes = std::make_unique<Job::Member[]>(static_cast<std::size_t>(shared_->threads));
  std::unique_lock lock(shared_->mutex);
  if (shared_->lost) {
    lock.unlock();
    return job->submission->abandon();
  }
  shared_->queue.push_back(std::move(job));
  const int to_wake = shared_->threads - (will_wait && !shared_->watched ? 1 : 0);
  if (!shared_->current && !shared_->starting) shared_->start_next(lock, to_wake);
}

void Team::wait(std::uint64_t sequence) {
  Shared& s = *shared_;
  std::uint64_t seen = 0;
  const auto done = [&] { return s.completed.load(std::memory_order_acquire) >= sequence; };
  const auto changed = [&] { return done() || s.news.load(std::memory_order_acquire) != seen; };
  while (!done()) {
    s.take_part(seen);
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
    const auto until = (running ? running->submission->started : Clock::now()) + timeout;
    const auto changed = [&] { return done() || s.lost || s.current != running; };
    ++s.sleeping_waiters;
    const bool in_time = s.work_done.wait_until(lock, until, changed);
    --s.sleeping_waiters;
    if (!in_time && running) s.lose(lock, *running);
  }
  return true;
}

}  // namespace cpu
}  // namespace halyard
