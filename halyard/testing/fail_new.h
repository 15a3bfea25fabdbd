// Makes operator new fail on purpose. Test programs replace it; see fail_new.cc.
#pragma once

#include <cstdint>

namespace halyard::testing {

/// Whose allocations are counted.
enum class Allocating : std::uint8_t {
  this_thread,    ///< those of the thread that made the FailNew
  other_threads,  ///< those of all others
};

/// As long as it lives, the n-th allocation through operator new (from 1 on) fails with std::bad_alloc; 0: none, they are
/// only counted. One at a time.
class FailNew {
 public:
  explicit FailNew(std::uint64_t n, Allocating = Allocating::this_thread);
  ~FailNew();
  FailNew(const FailNew&) = delete;
  FailNew& operator=(const FailNew&) = delete;

  /// Allocations counted so far.
  std::uint64_t count() const;
  /// Whether the n-th has been asked for.
  bool failed() const;
};

}  // namespace halyard::testing
