// A pool of buffers for scratch memory that comes and goes.
#pragma once

#include <cstddef>
#include <memory>

#include "halyard/hal/device.h"

namespace halyard {

/// Hands out buffers from allocations of power-of-two size. A buffer is handed out to one owner at a time, and its memory
/// is not handed out again before the work that used it has completed. Thread-safe. Content is undefined.
class BufferPool {
 public:
  explicit BufferPool(Device);

  /// A buffer of exactly this dtype and shape.
  Result<Buffer> acquire(DType, Shape);
  /// Gives a buffer back. Errc::invalid_state where it is not out: released twice, or not this pool's.
  Result<void> release(const Buffer&);
  /// Frees what is not out.
  void trim();

  std::size_t bytes_out() const;
  std::size_t bytes_held() const;  ///< out or free

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace halyard
