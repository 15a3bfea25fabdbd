// A thread's attempt at some tiles, which another thread can take over as long as nothing of the present tile is written.
//
// A thread that loses its core in the middle of a tile would hold up all others at the next barrier for as long as it is
// away, which is milliseconds. Restartable kernels ask before they write (CpuTile::may_write()). Until then another thread
// may do the tile instead, and the first one is told, when it is back, that it may not. What it reads meanwhile can be
// changing under it; nothing comes of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "halyard/hal/held_back.h"

namespace halyard::cpu {

/// Tiles of a phase that a thread has to run, and how many it has run before and not yet counted.
struct Tiles {
  std::uint32_t begin = 0, end = 0;
  std::uint32_t ran = 0;
  explicit operator bool() const { return begin != end; }
};

template <class Sync> class alignas(64) BasicAttempt {
 public:
  /// By its thread: it begins with tile `t.begin` of the open phase, number `phase`.
  void open(const Tiles& t, std::uint32_t phase) {
    // They change with the tiles claimed, and seldom with the tile.
    if (phase_.load(std::memory_order_relaxed) != phase) phase_.store(phase, std::memory_order_relaxed);
    if (end_.load(std::memory_order_relaxed) != t.end) end_.store(t.end, std::memory_order_relaxed);
    if (ahead_.load(std::memory_order_relaxed) != t.begin - t.ran)
      ahead_.store(t.begin - t.ran, std::memory_order_relaxed);
    const std::uint32_t turn = turn_of(state_.load(std::memory_order_relaxed));
    state_.store((std::uint64_t{turn + 1} << 32) | t.begin, std::memory_order_release);
  }
  /// By its thread, once after each open(): false where another thread has taken over.
  bool close() {
    std::uint64_t seen = state_.load(std::memory_order_relaxed);
    return is_open(seen) && state_.compare_exchange_strong(seen, seen + one_turn, std::memory_order_acq_rel);
  }

  bool is_open() const { return is_open(state_.load(std::memory_order_relaxed)); }
  /// By another thread: the tile that is open, those its thread would run next, and what it has not counted. They are the
  /// caller's then. None where it has asked to write, another one was faster, or they are not of `phase`: the caller may not
  /// have seen yet that the next one has been opened.
  Tiles take_over(std::uint32_t phase) {
    std::uint64_t seen = state_.load(std::memory_order_acquire);
    if (!is_open(seen) || phase_.load(std::memory_order_relaxed) != phase) return {};
    const auto begin = static_cast<std::uint32_t>(seen);
    const Tiles t = {begin, end_.load(std::memory_order_relaxed), begin - ahead_.load(std::memory_order_relaxed)};
    // Where the state has not changed, the rest has not either: both exchanges acquire and release.
    return state_.compare_exchange_strong(seen, seen + one_turn, std::memory_order_acq_rel) ? t : Tiles{};
  }

 private:
  static constexpr std::uint64_t one_turn = std::uint64_t{1} << 32;
  static std::uint32_t turn_of(std::uint64_t state) { return static_cast<std::uint32_t>(state >> 32); }
  static bool is_open(std::uint64_t state) { return turn_of(state) % 2 != 0; }

  template <class T> using Atomic = typename Sync::template Atomic<T>;
  Atomic<std::uint64_t> state_{0};                      // high: a count, odd while open; low: the tile
  Atomic<std::uint32_t> phase_{0}, end_{0}, ahead_{0};  // ahead: the tile less what is not counted
};
using Attempt = BasicAttempt<StdSync>;

/// A job's threads that still read for tiles which others have taken over.
template <class Sync = StdSync> class Stragglers {
 public:
  /// By who has taken over, before it counts the tiles as run.
  void add() { count_.fetch_add(1); }
  /// By a thread that has left such a tile. True: it was the last, and the job has completed without them.
  bool back() {
    const std::lock_guard lock(mutex_);
    return count_.fetch_sub(1) == 1 && outlived_;
  }
  /// By who completes the job: whether it does so without them. `held` is then counted up before the last of them can be
  /// back and count it down.
  bool outlive(HeldBack<Sync>& held) {
    if (count_.load() == 0) return false;
    const std::lock_guard lock(mutex_);
    outlived_ = count_.load() != 0;
    if (outlived_) held.add();
    return outlived_;
  }

 private:
  typename Sync::template Atomic<int> count_{0};
  typename Sync::Mutex mutex_;
  bool outlived_ = false;
};

}  // namespace halyard::cpu
