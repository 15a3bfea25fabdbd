// Makes operator new fail on purpose. Test programs replace it; see fail_new.cc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace halyard::testing {

/// Whose allocations are counted.
enum class Allocating : std::uint8_t {
  this_thread,    ///< those of the thread that made the FailNew
  other_threads,  ///< those of all others
};

/// As long as it lives, the n-th allocation of those counted through operator new (from 1 on) fails with std::bad_alloc; 0: none, they are
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

/// As long as it lives, this thread's allocations are neither counted nor fail: a test's own, and those of drivers that are
/// part of one.
class SpareNew {
 public:
  SpareNew();
  ~SpareNew();
  SpareNew(const SpareNew&) = delete;
  SpareNew& operator=(const SpareNew&) = delete;
};

/// Bytes of the largest allocation through operator new, on any thread, since it was made.
class LargestNew {
 public:
  LargestNew();
  std::size_t bytes() const;
};

/// Most bytes that this thread has held at once through operator new since it was made, beyond what it held then.
class MostNew {
 public:
  MostNew();
  std::size_t bytes() const;

 private:
  std::ptrdiff_t start_;
};

}  // namespace halyard::testing
