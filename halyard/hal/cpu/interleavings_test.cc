// The protocol by which threads take over from one that has lost its core, in every order in which its steps can come.
#include <gtest/gtest.h>

#include "halyard/hal/cpu/attempt.h"
#include "halyard/testing/interleavings.h"

namespace halyard::cpu {
namespace {

using testing::Interleavings;
using Sync = Interleavings::Sync;

// The order that was wrong: counts after others may see that the job has outlived them.
struct CountsTooLate {
  Sync::Atomic<int> count{0};
  Sync::Mutex mutex;
  bool outlived = false;
  void add() { count.fetch_add(1); }
  bool back() {
    const std::lock_guard lock(mutex);
    return count.fetch_sub(1) == 1 && outlived;
  }
  bool outlive(HeldBack<Sync>& held) {
    if (count.load() == 0) return false;
    {
      const std::lock_guard lock(mutex);
      outlived = count.load() != 0;
    }
    if (outlived) held.add();
    return outlived;
  }
};

// A job completes while two stragglers come back and two threads wait until memory is free: what stays counted, up or down,
// keeps the second of them for ever.
template <class AnyStragglers> struct Completion {
  static constexpr int threads = 4;
  AnyStragglers stragglers;
  HeldBack<Sync> held;
  Completion() { stragglers.add(), stragglers.add(); }

  void run(int thread) {
    if (thread == 0) held.settle();
    else if (thread == 1) stragglers.outlive(held), held.settle();
    else if (stragglers.back()) held.let_go();
  }
  std::string wrong() const { return {}; }
};

TEST(AllInterleavings, OfAJobThatOutlivesItsStragglersWakeWhoWaits) {
  Interleavings all;
  EXPECT_EQ(all.explore<Completion<Stragglers<Sync>>>(), "");
  EXPECT_GT(all.states(), 1000U);
  RecordProperty("states", static_cast<int>(all.states()));
}

TEST(AllInterleavings, ShowTheHangWhereItIsCountedTooLate) {
  Interleavings all;
  EXPECT_EQ(all.explore<Completion<CountsTooLate>>(), "a hang");
}

// Two threads and a few phases, whose tiles are the first thread's. The second may take over from the first once a phase,
// at any point, and the first from it where that is `mutual`: as though it looked absent at all times. It is what work() does of the team's, without kernels.
template <std::uint32_t phases, std::uint32_t tiles, bool mutual> struct Phases {
  static constexpr int threads = 2;
  BasicAttempt<Sync> attempts[2];
  Stragglers<Sync> stragglers;
  HeldBack<Sync> held;
  Sync::Atomic<std::uint32_t> phase{0}, done{0};
  int written[phases][tiles] = {};

  // Whether the tiles were run to their end.
  void tile_by_tile(int me, std::uint32_t in, Tiles& mine) {
    while (mine) {
      attempts[me].open(mine, in);
      if (!attempts[me].close()) {
        mine = {};
        if (stragglers.back()) held.let_go();
        return;
      }
      ++written[in][mine.begin];
      ++mine.begin;
      ++mine.ran;
    }
  }
  void run(int me) {
    for (std::uint32_t in; (in = phase.load()) < phases;) {
      Tiles mine = {0, me == 0 ? tiles : 0};
      tile_by_tile(me, in, mine);
      for (bool may_take = mutual || me == 1;; may_take = false) {
        if (mine.ran && done.fetch_add(mine.ran) + mine.ran == tiles) {
          done.store(0);
          if (in + 1 == phases) stragglers.outlive(held);
          phase.store(in + 1);
          phase.notify_all();
          break;
        }
        mine = may_take && attempts[1 - me].is_open() ? attempts[1 - me].take_over(in) : Tiles{};
        if (!mine) {
          phase.wait(in);
          break;
        }
        stragglers.add();
        tile_by_tile(me, in, mine);
      }
    }
    held.settle();
  }
  std::string wrong() const {
    for (const auto& in : written)
      for (const int times : in)
        if (times != 1) return "a tile is written " + std::to_string(times) + " times";
    return {};
  }
};

TEST(AllInterleavings, OfTwoThreadsThatTakeOverWriteEachTileOnce) {
#ifdef HALYARD_SANITIZED  // all happens on one thread, and a minute would show no more
  Interleavings both;
  EXPECT_EQ((both.explore<Phases<1, 1, true>>()), "");
#else
  Interleavings phases, tiles;
  EXPECT_EQ((phases.explore<Phases<2, 1, false>>()), "");
  EXPECT_EQ((tiles.explore<Phases<1, 2, true>>()), "");
  RecordProperty("phases", static_cast<int>(phases.states()));
  RecordProperty("tiles", static_cast<int>(tiles.states()));
#endif
}

}  // namespace
}  // namespace halyard::cpu
