// The team: the threads that run one CPU device's command buffers.
//
// A command buffer is a list of phases, the records between two barriers. Each record is cut into tiles; threads claim
// tiles of the current phase from one atomic cursor, and whoever finishes the phase's last tile opens the next. No
// thread's share is fixed in advance and none waits for a particular other one, so a thread that loses its core holds up
// no more than the tiles it has claimed. A waiting thread joins in: waiting costs no wake-up.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "halyard/hal/state.h"

namespace halyard::cpu {

/// Scratch that a dispatch may ask for, for each thread.
inline constexpr std::size_t max_shared_bytes = std::size_t{1} << 20;

/// Records cut into phases and tiles.
struct Schedule {
  struct Task {
    const Record* record;
    std::uint32_t first_tile;         ///< of the phase's tiles
    std::uint32_t tiles_x, tiles_y, tiles_z;
    std::byte* const* buffers;        ///< the record's windows, as the kernel sees them
    const std::size_t* sizes;
    const std::byte* constants;
    std::uint32_t tiles() const { return tiles_x * tiles_y * tiles_z; }
  };
  struct Phase {
    std::uint32_t first_task, end_task;
    std::uint32_t tiles;
  };

  std::vector<Task> tasks;
  std::vector<Phase> phases;  // none without tiles
  std::uint32_t widest = 0;   // tiles of the largest phase
};

/// A plan's schedule: a replay copies it, and points the patched tasks to its own constants.
struct CpuPlan final : PreparedPlan {
  struct Patch {
    std::uint32_t task, at;  // its constants stand at `at` in the replay's block
  };
  Schedule schedule;
  std::vector<Patch> patches;
  Arena arena;
};
std::unique_ptr<const CpuPlan> prepare_plan(const PlanState&);

/// One submission.
struct Job : Schedule {
  /// What is known of one thread that has joined.
  struct Member {
    std::atomic<const KernelDef*> running{nullptr};
    std::vector<Profiler::Span> spans;  // if the device has a profiler
  };

  std::shared_ptr<Submission> submission;
  int members = 0;            // threads that have joined; guarded by the team's mutex
  std::unique_ptr<Member[]> notes;      // one for each thread that may join; null: nobody watches
  std::atomic<bool> abandoned{false};   // it did not finish in time: who has no tile of it leaves

  // The current phase (high 32 bits) and its next unclaimed tile (low 32 bits); phase == phases.size(): finished.
  alignas(64) std::atomic<std::uint64_t> cursor{0};
  alignas(64) std::atomic<std::uint32_t> done{0};  // finished tiles of the current phase
};

class Team {
 public:
  /// `watched`: wait_for() will be used instead of wait().
  Team(int threads, bool watched);
  /// Stops the workers. The queue must be empty. May run on a worker itself.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const;
  void submit(std::shared_ptr<Submission>, bool will_wait);
  void wait(std::uint64_t sequence);
  /// See Driver::wait_for. The waiting thread does not join in: a kernel could keep it.
  bool wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;  // workers hold it too: the last of them may outlive the team
  std::vector<std::thread> workers_;
};

}  // namespace halyard::cpu
