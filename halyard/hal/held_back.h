// Completed submissions whose memory a thread still reads, counted.
#pragma once

#include <atomic>
#include <mutex>

namespace halyard {

/// What protocols between threads are made of. Tests have another, with which they run through all interleavings.
struct StdSync {
  template <class T> using Atomic = std::atomic<T>;
  using Mutex = std::mutex;
};

template <class Sync = StdSync> class HeldBack {
 public:
  /// Before let_go() may be called for the submission: no waiter is woken here.
  void add() { count_.fetch_add(1); }
  void let_go() {
    count_.fetch_sub(1);
    count_.notify_all();
  }
  /// Waits until there are none.
  void settle() const {
    for (int n; (n = count_.load()) != 0;) count_.wait(n);
  }

 private:
  typename Sync::template Atomic<int> count_{0};
};

}  // namespace halyard
