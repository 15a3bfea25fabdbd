// Collects where a device's time goes, and a trace of what ran when. Internal to hal.
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

#include "halyard/hal/profile.h"
#include "halyard/hal/recording.h"

namespace halyard {

struct Submission;

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
