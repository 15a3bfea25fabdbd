// What the handles of a device share. Internal to hal.
#pragma once

#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "halyard/hal/counters.h"
#include "halyard/hal/driver.h"
#include "halyard/hal/failure.h"
#include "halyard/hal/held_back.h"
#include "halyard/hal/kernel_registry.h"
#include "halyard/hal/profiler.h"
#include "halyard/hal/recording.h"
#include "halyard/hal/residency.h"

namespace halyard {

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
  KernelRegistry kernels{*this};
  std::unique_ptr<Profiler> profiler;  ///< null: off

  // submission: the mutex makes the order of numbers the order in which the driver gets them
  std::mutex submit_mutex;
  std::uint64_t last_sequence = 0;

  FailureList failures;

  std::atomic<std::uint64_t> completed{
      0};  // all submissions up to this number have; stands still once the device is lost

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

}  // namespace halyard
