// The shared state behind the public handles. Internal to hal.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "halyard/base/guarded.h"
#include "halyard/hal/driver.h"
#include "halyard/hal/held_back.h"

namespace halyard {

/// What was recorded.
struct RecordCounts {
  std::uint64_t dispatches = 0, auto_barriers = 0, concurrent_dispatches = 0, explicit_barriers = 0;
};

/// One encoder's counts, which only its thread changes: without the locked instructions that would cost a dispatch more than
/// the rest of its bookkeeping.
class RecordCounter {
 public:
  using Count = std::atomic<std::uint64_t>;
  Count dispatches{0}, auto_barriers{0}, concurrent_dispatches{0}, explicit_barriers{0};
  static void add(Count& c, std::uint64_t n) {
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

 private:
  friend class RecordCounters;
  RecordCounter *before_ = nullptr, *after_ = nullptr;
};

/// The counters of a device's encoders, and the sum over those that are gone.
class RecordCounters {
 public:
  void join(RecordCounter&);
  void leave(RecordCounter&);
  /// The sum since it was last reset.
  RecordCounts sum() const;
  void reset();

 private:
  RecordCounts total() const;
  mutable std::mutex mutex_;
  RecordCounter* first_ = nullptr;
  RecordCounts gone_, base_;  // base_: the total when reset
};

struct AtomicStats {
  std::atomic<std::uint64_t> command_buffers{0}, syncs{0}, kernels_compiled{0}, bytes_allocated{0}, peak_bytes{0},
      submit_ns{0};
  RecordCounters recorded;

  /// Counts n more bytes as allocated, unless they would exceed the budget.
  bool add_bytes(std::uint64_t n, std::uint64_t budget) {
    std::uint64_t before = bytes_allocated.load();
    do {
      if (n > budget || before > budget - n) return false;
    } while (!bytes_allocated.compare_exchange_weak(before, before + n));
    std::uint64_t peak = peak_bytes.load();
    while (before + n > peak && !peak_bytes.compare_exchange_weak(peak, before + n)) {
    }
    return true;
  }
};

/// Which allocations should stay resident. Who is a member changes at once; the driver is told at the next commit.
/// Thread-safe.
class ResidencySet {
 public:
  bool add(Allocation&);     ///< false: it was a member
  bool remove(Allocation&);  ///< false: it was none
  /// The allocation is about to be freed, and is no member.
  void dropped(Allocation&);
  /// Pins what was added since the last commit, and unpins what was removed, but for memory that submissions after number
  /// `completed` use: that waits for a later commit. One load where nothing has changed.
  void commit(std::uint64_t completed) {
    if (changed_.load(std::memory_order_acquire)) apply(completed);
  }

  std::size_t count() const;
  std::size_t bytes() const;    ///< of the members
  std::string refusal() const;  ///< the driver's latest; empty: it has pinned all it was asked to

  /// An allocation's part; guarded by the set's mutex.
  struct Place {
    bool member = false, pinned = false, waiting = false;
    Allocation *before = nullptr, *after = nullptr;  ///< its neighbours among those that wait
  };

 private:
  void apply(std::uint64_t completed);
  void wait_for_commit(Allocation&);

  mutable std::mutex mutex_;
  std::atomic<bool> changed_{false};
  Allocation* waiting_ =
      nullptr;  // the first to be pinned or unpinned: a list, for buffers are dropped where nothing may fail
  std::size_t count_ = 0, bytes_ = 0;
  std::string refusal_;
};

/// Why a submission failed, and whether anybody has been told.
struct Failure {
  Error error;
  std::atomic<bool> returned{false};
  std::shared_ptr<Failure> next;  ///< in a FailureList
};

/// Failures of completed submissions that wait_idle() has not asked for yet, in order. A list, for completing asks for no
/// memory. Thread-safe.
class FailureList {
 public:
  FailureList() = default;
  FailureList(const FailureList&) = delete;
  FailureList& operator=(const FailureList&) = delete;
  ~FailureList() { clear(); }
  void add(std::shared_ptr<Failure>);
  /// The first that nobody has been told of; the list is empty then.
  std::optional<Error> tell_first();

 private:
  void clear();
  void drop_returned();
  std::mutex mutex_;
  std::shared_ptr<Failure> first_;
  Failure* last_ = nullptr;
  std::size_t size_ = 0, drop_at_ = 64;  // so many, and those that were returned are dropped: constant time each
};

/// The memory of completed submissions, for those to come: a command buffer is recorded without asking the system for any.
class SpareRecordings {
 public:
  SpareRecordings() { spare_.reserve(most); }
  /// A recording, and a failure in case it fails.
  void take(Submission&);
  /// Empties the recording, which lets go of what it retained, and keeps its memory.
  void give(Submission&) noexcept;

 private:
  struct Spare {
    Recording recording;
    std::shared_ptr<Failure> failure;  // null where it was needed
  };
  static constexpr std::size_t most = 8;
  std::mutex mutex_;
  std::vector<Spare> spare_;
};

/// How many forks lie between this process and the one that opened its first device. Threads do not survive one, and what
/// they had locked stays locked.
inline std::atomic<unsigned> fork_count{0};
inline unsigned forks() { return fork_count.load(std::memory_order_relaxed); }

struct DeviceState : std::enable_shared_from_this<DeviceState> {
  DeviceState();
  const unsigned opened_after = forks();
  /// Whether a process opened it of which this is the child. It has no threads here: calls are refused, and what is dropped
  /// touches nothing that may be locked.
  bool is_of_parent() const { return opened_after != forks(); }

  std::unique_ptr<Driver> driver;
  AtomicStats stats;
  ResidencySet residency;
  SpareRecordings spare;
  std::unique_ptr<Profiler> profiler;  ///< null: off

  // kernels: compiled ones stay at their address as long as the device
  struct KernelEntry {
    const KernelDef* def;
    Constants specialisation;
    std::unique_ptr<CompiledKernel> compiled;
  };
  std::shared_mutex kernels_mutex;  ///< held for moments only
  std::mutex compile_mutex;         ///< by who compiles, before kernels_mutex
  std::unordered_map<std::string_view, const KernelDef*> kernels_by_name;
  std::unordered_map<const KernelDef*, std::vector<KernelEntry>> kernels;

  // submission: the mutex makes the order of numbers the order in which the driver gets them
  std::mutex submit_mutex;
  std::uint64_t last_sequence = 0;

  FailureList failures;

  std::atomic<std::uint64_t> completed{0};  // all submissions up to this number have; stands still once the device is lost

  std::atomic<std::uint64_t> next_encoder_id{1};

  std::size_t memory_budget = std::numeric_limits<std::size_t>::max();
  bool validate = false;                 // DeviceOptions::validate
  std::chrono::milliseconds timeout{0};  // how long a submission may run; 0: for ever

  /// Completed submissions whose memory a thread still reads: at most for as long as it takes to come to its end.
  HeldBack<> held_back;
  /// Waits until there are none, so that memory nobody uses is free and counted as free.
  void settle() const;

  /// Waits until the submission and all before it have completed. Errc::timeout or device_lost where they will not.
  Result<void> wait(std::uint64_t sequence);
  /// The device no longer answers: `stuck` did not finish in time. `running` names the kernels that ran, if known.
  void lose(Submission& stuck, const std::string& running);
  /// Errc::device_lost once it is lost, and in a child of the process that opened it.
  Result<void> check_lost() const;
  std::string why_lost() const;

  std::atomic<bool> lost{false};
  mutable std::mutex loss_mutex;
  std::uint64_t stuck_sequence = 0;  // what follows is set once, with `lost`
  Error loss;
};

/// What the kernel's form makes of a dispatch; an error where it makes nothing of any.
Result<Launch> launch_of(const CompiledKernel&, const LaunchInputs&);
/// Whether a dispatch may be run so.
Result<void> refuse_launch(const CompiledKernel&, const Grid& grid, const Grid& block, std::size_t shared_bytes,
                           const Capabilities&);
inline Result<void> check_launch(const CompiledKernel& k, const Grid& grid, const Grid& block, std::size_t shared_bytes,
                                 const Driver& driver) {
  // Asking the driver is a call, which few dispatches need.
  if (too_many_blocks(grid, block) || (shared_bytes && shared_bytes > driver.capabilities().max_shared_bytes))
      [[unlikely]]
    return refuse_launch(k, grid, block, shared_bytes, driver.capabilities());
  return {};
}

/// A graph made ready to be replayed.
struct PlanState {
  struct Place {
    std::uint32_t at, bytes;  // in `constants`
  };
  struct Parameter {
    std::string name;
    std::uint64_t most;
    std::vector<Place> places;
  };
  struct Patched {
    std::uint32_t record, at;  // its constants stand at `at` in `constants`
  };

  std::shared_ptr<const Recording> recording;
  std::shared_ptr<DeviceState> device;
  std::size_t barriers = 0;
  std::vector<Parameter> parameters;
  std::vector<Patched> patched;      // the records that have parameters
  std::vector<std::byte> constants;  // theirs, as recorded
  std::unique_ptr<const PreparedPlan> prepared;
  /// The last submission that replays it; known to the memory it uses, which may be asked when the plan is gone.
  std::shared_ptr<std::atomic<std::uint64_t>> last_sequence = std::make_shared<std::atomic<std::uint64_t>>(0);
};

/// The memory that buffers are windows of. What recording a dispatch touches comes first: one
/// cache line.
class alignas(64) Allocation {
 public:
  /// Who keeps it: all its handles together count one, and each AllocationRef one.
  std::atomic<std::uint32_t> kept{1};
  /// The handles' shared pointer. With the last of them it leaves the residency set; it is freed when no work keeps it either.
  static std::shared_ptr<Allocation> handles_of(std::unique_ptr<Allocation>);
  /// The driver's memory, of which `guard` bytes before and after are nobody's; or with an owner its memory, for reading.
  Allocation(std::shared_ptr<DeviceState> d, Memory m, std::size_t g, std::shared_ptr<const void> owner)
      : device(std::move(d)), memory(m), read_only(owner != nullptr), guard(g), imported(std::move(owner)) {}
  /// A placeholder: see Device::placeholder.
  Allocation(std::shared_ptr<DeviceState> d, std::size_t bytes)
      : device(std::move(d)), memory{.bytes = bytes}, read_only(false), placeholder(true), guard(0) {}
  ~Allocation();
  Allocation(const Allocation&) = delete;
  Allocation& operator=(const Allocation&) = delete;

  const std::shared_ptr<DeviceState> device;
  const Memory memory;
  std::atomic<std::uint64_t> retained_by{0};    ///< the last encoder that retained it: spares it doing so again
  const bool read_only;
  const bool placeholder = false;               ///< no memory
  const std::size_t guard;                      ///< bytes before and after `memory` that nobody may touch
  const std::shared_ptr<const void> imported;   ///< keeps imported memory; null for our own
  std::atomic<std::uint64_t> last_sequence{0};  ///< the last submission that uses it, replays left out
  ResidencySet::Place residency;

  /// Remembers a plan that uses it: so a replay has nothing to do for each allocation.
  void add_plan(const PlanState&);
  /// The last submission that uses it; takes part in nothing's lifetime.
  std::uint64_t last_use() const;

 private:
  mutable std::mutex plans_mutex_;
  std::vector<std::shared_ptr<const std::atomic<std::uint64_t>>> replayed_;  // PlanState::last_sequence of each
};

/// Why a fence failed: the first failure of its chain, label in front, and how many command buffers have passed it on.
struct FenceFailure {
  std::shared_ptr<const Failure> first;
  std::uint64_t passed_on = 0;
};

inline AllocationRef::AllocationRef(Allocation& a) : allocation_(&a) { a.kept.fetch_add(1, std::memory_order_relaxed); }

/// A session's fences: values signalled by submissions, some of them with failure.
class Timeline {
 public:
  void signal_failure(std::uint64_t value, FenceFailure);
  /// Why the submission that signals `value` failed, if it did. Asked only after that submission has completed, and before
  /// a later value is signalled: who waits for a value stands in the queue before who signals the next.
  std::optional<FenceFailure> failure(std::uint64_t value) const;

 private:
  mutable std::mutex mutex_;
  std::uint64_t value_ = 0;  // the last one signalled with failure; 0: none
  FenceFailure failure_;
};

/// One command buffer: open while an encoder records into it, then owned by the driver until it has completed.
struct Submission {
  explicit Submission(std::shared_ptr<DeviceState> d) : device(std::move(d)) { device->spare.take(*this); }

  std::shared_ptr<DeviceState> device;
  Recording recording;                  ///< emptied on completion
  std::string label;
  std::shared_ptr<PreparedSubmission> prepared;  ///< the driver's, from make_ready() to submit()
  std::shared_ptr<Timeline> wait_on, signal;
  std::uint64_t wait_value = 0, signal_value = 0;
  std::uint64_t sequence = 0;
  std::atomic<CommandBufferStatus> status{CommandBufferStatus::open};
  std::chrono::steady_clock::time_point started{}, ended{};

  std::mutex failure_mutex;
  std::shared_ptr<Failure> failure, spare_failure;  ///< it is made with the submission: failing asks for no memory
  std::atomic<bool> failed{false};
  std::atomic<bool> abandoned{false};  ///< the device was lost while it ran

  /// Fails with the failure of the fence it waits on, if that has one. Asked when it is next to run.
  void fail_with_dependency() noexcept;
  FenceFailure to_signal() const;
  /// The error with the label in front.
  Error named(Error) const;
  /// The first failure wins. It is told without words where there is no memory for them.
  void fail_with(Error) noexcept;
  /// The same with words() as the message.
  template <class Words> void fail_with(Errc code, const Words& words) noexcept {
    fail_with({code, if_memory(words), {}});
  }
  /// Fails with the loss of its device and completes without having run.
  void abandon();
  /// Signals the fence, lets go of everything it held, and sets the final status. Called by the driver, once. `still_read`:
  /// a thread still reads what it recorded; the driver has counted it in `held_back`, and calls let_go(), at any time, when
  /// that thread is done.
  void complete(bool still_read = false);
  void let_go();
  Result<void> outcome();
};

/// While it lives, its thread runs kernels of a submission.
class InKernelsOf {
 public:
  explicit InKernelsOf(const Submission&);
  ~InKernelsOf();
  InKernelsOf(const InKernelsOf&) = delete;
  /// The device's submission whose kernel makes this call; null: it comes from outside.
  static const Submission* any(const DeviceState&);

 private:
  const Submission& submission_;
  const InKernelsOf* const outer_;  // a kernel may wait for another device's
};

}  // namespace halyard
