// Numbered things that several hold at once: pages, slots of state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace halyard::engine {

/// Each is free, held by so many, or idle: held by nobody, and still good for something. The idle ones stand in the order in
/// which they were let go. Nothing is allocated after it was made.
class CountedPool {
 public:
  explicit CountedPool(std::size_t n) : references_(n), links_(n + 1, {last(n), last(n)}) {
    free_.reserve(n);
    for (std::size_t i = n; i-- > 0;) free_.push_back(static_cast<std::int32_t>(i));
  }

  std::size_t all() const { return references_.size(); }
  std::size_t free() const { return free_.size(); }
  std::size_t idle() const { return idle_; }
  std::size_t held() const { return all() - free() - idle(); }
  std::uint32_t references(std::int32_t i) const { return references_[static_cast<std::size_t>(i)]; }
  /// The one that was let go first.
  std::int32_t oldest_idle() const {
    require(idle_ > 0, "one more than there are");
    return links_.back().newer;
  }

  /// A free one, held once.
  std::int32_t take() {
    require(!free_.empty(), "one more than are free");
    const std::int32_t i = free_.back();
    free_.pop_back();
    require(count(i)++ == 0, "a free one that is in use");
    return i;
  }
  /// Holds one that is held or idle once more.
  void hold(std::int32_t i) {
    if (count(i)++ == 0) unlink(i);
  }
  /// Ends one hold. With the last, it is idle if it is good for something, else free.
  void give(std::int32_t i, bool good) {
    require(references(i) > 0, "one given back twice");
    if (--count(i) > 0) return;
    if (good) link(i);
    else free_.push_back(i);
  }
  /// An idle one is good for nothing any more.
  void release(std::int32_t i) {
    unlink(i);
    free_.push_back(i);
  }

 private:
  struct Link {
    std::int32_t older, newer;
  };
  static std::int32_t last(std::size_t n) { return static_cast<std::int32_t>(n); }
  static void require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  }
  std::uint32_t& count(std::int32_t i) { return references_[static_cast<std::size_t>(i)]; }
  Link& at(std::int32_t i) { return links_[static_cast<std::size_t>(i)]; }
  void link(std::int32_t i) {
    const std::int32_t end = last(all());
    at(i) = {at(end).older, end};
    at(at(end).older).newer = i;
    at(end).older = i;
    ++idle_;
  }
  void unlink(std::int32_t i) {
    at(at(i).older).newer = at(i).newer;
    at(at(i).newer).older = at(i).older;
    --idle_;
  }

  std::vector<std::uint32_t> references_;
  std::vector<std::int32_t> free_;  // the next one to be taken is the last
  std::vector<Link> links_;         // of the idle ones; the last ties the ends together
  std::size_t idle_ = 0;
};

}  // namespace halyard::engine
