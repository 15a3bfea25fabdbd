// Where a device's time went: per kernel, per command-buffer label, and as a trace of what ran when.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "halyard/base/result.h"
#include "halyard/hal/record.h"

namespace halyard {

struct Submission;

/// What the dispatches of one kernel, or the command buffers of one label, took together.
struct ProfileRow {
  std::string name;
  std::uint64_t calls = 0;
  std::chrono::nanoseconds thread_time{0};  ///< in its tiles, summed over threads
  std::chrono::nanoseconds elapsed{0};      ///< from the first tile's start to the last one's end, summed over calls
  std::uint64_t bytes = 0;                  ///< of the windows bound, summed over dispatches
};

/// Since the device was opened or reset_profile() was called; rows by thread time, the greatest first.
struct Profile {
  std::vector<ProfileRow> kernels, labels;
};

/// Collects what ran. Thread-safe.
class Profiler {
 public:
  using Clock = std::chrono::steady_clock;
  /// Some tiles of one dispatch, run by one thread without a break.
  struct Span {
    const Record* record;
    std::uint32_t dispatch;  ///< its number in the command buffer, where a replayed plan may have it several times
    std::uint32_t lane;      ///< which of the threads at work on the command buffer
    Clock::time_point begin, end;
  };
  /// Adds a command buffer that has run and still holds what it ran. What there is no memory for is left out.
  void add(const Submission&, std::span<const Span>) noexcept;
  Profile profile() const;
  void reset();
  /// The spans as JSON that Perfetto and chrome://tracing read: the command buffers on lane 0, the threads below.
  std::string trace() const;

 private:
  /// The trace keeps this many spans, the earliest; rows count them all.
  static constexpr std::size_t max_events = std::size_t{1} << 20;
  struct Event {
    std::string_view name;  // a kernel's, or an element of by_label_: either stays
    std::uint32_t lane;
    Clock::time_point begin, end;
  };
  void count(const Submission&, std::span<const Span>);
  void keep(const Event&);

  mutable std::mutex mutex_;
  std::unordered_map<const KernelDef*, ProfileRow> by_kernel_;
  std::map<std::string, ProfileRow, std::less<>> by_label_;
  std::vector<Event> events_;
  std::uint64_t left_out_ = 0;
};

}  // namespace halyard
