// A pool of buffers for scratch memory that comes and goes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "halyard/hal/device.h"

namespace halyard {

struct PoolStats {
  std::size_t bytes_out = 0;   ///< handed out
  std::size_t bytes_held = 0;  ///< handed out or kept for later
  std::size_t peak_out = 0;    ///< the most bytes_out has been
  std::uint64_t acquired = 0;  ///< calls that succeeded
  std::uint64_t reused = 0;    ///< of them, without a new allocation
  std::uint64_t freed = 0;     ///< allocations given back to the device
};

/// Hands out buffers from allocations of a few sizes, four to each power of two: at most a quarter of a buffer above 256
/// bytes is lost to rounding. A buffer is handed out to one owner at a time, and its memory is not handed out again before
/// the work that used it has completed. Thread-safe. Content is undefined.
///
/// Memory goes back to the device
/// - every 256 acquires: of each size as many allocations as have lain idle at every acquire of that size since the last
///   time, for they were not needed even at the high-water mark;
/// - when the device has no more memory for an acquire: all that is idle, and then acquire tries once more;
/// - by trim().
class BufferPool {
 public:
  static constexpr std::uint64_t period = 256;  ///< acquires

  /// Where there is no memory for the pool itself, acquire() says so.
  explicit BufferPool(Device);

  /// A buffer of exactly this dtype and shape.
  Result<Buffer> acquire(DType, Shape);
  /// Gives a buffer back. Errc::invalid_state where it is not out: released twice, or not this pool's.
  Result<void> release(const Buffer&);
  /// Frees what is not out, but for what work in flight uses.
  void trim();

  PoolStats stats() const;
  std::size_t bytes_out() const { return stats().bytes_out; }
  std::size_t bytes_held() const { return stats().bytes_held; }

 private:
  struct State;
  Result<void> check_state() const;
  Result<Buffer> take(DType, const Shape&);
  std::shared_ptr<State> state_;
  bool no_memory_ = false;  // for the state
};

}  // namespace halyard
