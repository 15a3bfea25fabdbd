// Failures on their way from a submission to who is told. Internal to hal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "halyard/base/result.h"

namespace halyard {

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

/// Why a fence failed: the first failure of its chain, label in front, and how many command buffers have passed it on.
struct FenceFailure {
  std::shared_ptr<const Failure> first;
  std::uint64_t passed_on = 0;
};

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

}  // namespace halyard
