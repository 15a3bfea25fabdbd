// The team: the threads that run one CPU device's command buffers.
//
// A command buffer is a list of phases, the records between two barriers. Each record is cut into tiles. A thread runs the
// tiles of its own share of the phase first, then those that the others have not got to, and whoever finishes the phase's
// last tile opens the next. No thread waits for a particular other one: where one loses its core, the others take over what
// it has claimed, and the tile it is at too if its kernel can be restarted. A waiting thread joins in: waiting costs no
// wake-up.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "halyard/hal/cpu/job.h"
#include "halyard/hal/cpu/placement.h"

namespace halyard::cpu {

/// Scratch that a dispatch may ask for, for each thread.
inline constexpr std::size_t max_shared_bytes = std::size_t{1} << 20;

/// One dispatch, as run. All a thread needs to know of it lies here, in one place.
struct Task {
  CpuKernelFn run;
  std::byte* const* buffers;  ///< its windows, as the kernel sees them
  const std::size_t* sizes;
  const std::byte* constants;  ///< null: those of the replay, at `replay_constants`
  std::uint32_t replay_constants;
  std::uint32_t first_tile, end_tile;  ///< of the phase's tiles
  std::uint32_t tiles_x, tiles_y;
  Grid tile, grid;
  bool needs_scratch;
  bool restartable;  ///< and there are others to restart it
  const Record* record;
};

/// The tasks between two barriers.
struct Phase {
  const Task *first, *end;
  std::uint32_t tiles;
  std::uint32_t share;         ///< tiles of a lane
  std::uint32_t number;        ///< of its first dispatch, in the command buffer
  const std::byte* constants;  ///< the replay's
};

/// Records cut into phases and tiles.
struct Schedule {
  std::vector<Task> tasks;
  std::vector<Phase> phases;  ///< none without tiles
  std::uint32_t widest = 0;   ///< tiles of the largest phase
};

/// A plan's schedule. Its tasks stay where they are: a replay has phases of its own, which point to its own constants.
struct CpuPlan final : PreparedPlan {
  Schedule schedule;
  Arena arena;
};
std::unique_ptr<const CpuPlan> prepare_plan(const PlanState&, int threads);

/// Where in the phase one thread's share of its tiles stands. Others take from it when they have finished theirs.
struct alignas(64) Lane {
  /// The phase (high 32 bits) and the next unclaimed tile (low 32 bits). An older phase, or -1: nothing is claimed yet.
  std::atomic<std::uint64_t> next{~std::uint64_t{0}};
  std::atomic<int> core{-1};         ///< where its thread was seen last
  std::atomic<ThreadClock> clock{};  ///< its thread's
  Attempt attempt;
};

/// One submission.
struct Job final : Schedule, PreparedSubmission {
  /// What is known of one thread that has joined.
  struct Member {
    std::atomic<const KernelDef*> running{nullptr};
    std::vector<Profiler::Span> spans;  // if the device has a profiler
  };

  std::shared_ptr<Submission> submission;  // from submit() on
  std::shared_ptr<Job> next;               // in the queue
  int members = 0;                         // threads that have joined; guarded by the team's mutex
  bool finished = false;                   // too late to be given up; guarded too, set where there is a timeout
  std::unique_ptr<Member[]> notes;         // one for each thread that may join; null: nobody watches
  std::atomic<bool> abandoned{false};      // it did not finish in time: who has no tile of it leaves

  std::unique_ptr<Lane[]> lanes;                    // one for each thread that may join
  alignas(64) std::atomic<std::uint32_t> phase{0};  // the open one; phases.size(): finished
  std::atomic<int> sleeping{0};                     // threads asleep until another is opened
  alignas(64) std::atomic<std::uint32_t> done{0};   // finished tiles of the open phase
  std::mutex mutex;
  std::condition_variable opened;

  Stragglers<> stragglers;
};

/// Jobs in order: a list, for handing one over asks for no memory.
class JobQueue {
 public:
  bool empty() const { return !first_; }
  void push(std::shared_ptr<Job> job) {
    Job* const last = job.get();
    (first_ ? last_->next : first_) = std::move(job);
    last_ = last;
  }
  std::shared_ptr<Job> pop() {
    std::shared_ptr<Job> job = std::move(first_);
    first_ = std::move(job->next);
    return job;
  }

 private:
  std::shared_ptr<Job> first_;
  Job* last_ = nullptr;  // where there is a first
};

class Team {
 public:
  /// `watched`: wait_for() will be used instead of wait(). `take_over`: where a thread loses its core, others do its tiles.
  Team(int threads, bool watched, bool take_over);
  /// Starts the workers. Called once; where it fails the team is good for nothing.
  Result<void> start();
  /// Stops the workers. The queue must be empty. May run on a worker itself.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const;
  /// See Driver::make_ready.
  void make_ready(Submission&);
  void submit(std::shared_ptr<Submission>, bool will_wait) noexcept;
  void wait(std::uint64_t sequence);
  /// See Driver::wait_for. The waiting thread does not join in: a kernel could keep it.
  bool wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;  // workers hold it too: the last of them may outlive the team
  std::vector<std::thread> workers_;
  const unsigned forks_ = forks();
};

}  // namespace halyard::cpu
