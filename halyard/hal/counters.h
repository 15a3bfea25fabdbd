// What a device counts. Internal to hal.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

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
    while (before + n > peak && !peak_bytes.compare_exchange_weak(peak, before + n)) {}
    return true;
  }
};

}  // namespace halyard
