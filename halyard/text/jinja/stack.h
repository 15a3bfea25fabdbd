// How much of a thread's stack is left: what ends recursion on stacks of any size.
#pragma once

#include <cstddef>
#include <cstdint>

namespace halyard::jinja {

class StackLimit {
 public:
  /// Of the thread that makes it.
  StackLimit();
  /// Whether so little is left that recursion must end. Call it on the same thread.
  bool near() const { return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < lowest_; }

 private:
  std::uintptr_t lowest_;
};

}  // namespace halyard::jinja
