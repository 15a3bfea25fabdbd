// Which memory is kept resident. Internal to hal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

namespace halyard {

class Allocation;

/// Which allocations should stay resident. Who is a member changes at once; the driver is told at the next commit.
/// Thread-safe.
class ResidencySet {
 public:
  bool add(Allocation&);     ///< false: it was a member
  bool remove(Allocation&);  ///< false: it was none
  /// The allocation is about to be freed, and is no member.
  void dropped(Allocation&);
  /// Pins what was added since the last commit, and unpins what was removed, but for memory that submissions after number
  /// `completed` use: that waits for a later commit. One load where nothing has changed.
  void commit(std::uint64_t completed) {
    if (changed_.load(std::memory_order_acquire)) apply(completed);
  }

  std::size_t count() const;
  std::size_t bytes() const;    ///< of the members
  std::string refusal() const;  ///< the driver's latest; empty: it has pinned all it was asked to

  /// An allocation's part; guarded by the set's mutex.
  struct Place {
    bool member = false, pinned = false, waiting = false;
    Allocation *before = nullptr, *after = nullptr;  ///< its neighbours among those that wait
  };

 private:
  void apply(std::uint64_t completed);
  void wait_for_commit(Allocation&);

  mutable std::mutex mutex_;
  std::atomic<bool> changed_{false};
  Allocation* waiting_ =
      nullptr;  // the first to be pinned or unpinned: a list, for buffers are dropped where nothing may fail
  std::size_t count_ = 0, bytes_ = 0;
  std::string refusal_;
};

}  // namespace halyard
