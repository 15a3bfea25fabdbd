// Hazards: which dispatches must not overlap, from the byte ranges they bind.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "halyard/hal/buffer.h"

namespace halyard {

/// Whether a dispatch reads (src) or writes (dst) a range.
enum class MemRangeRole : std::uint8_t { src, dst };

/// The bytes [begin, end) of one allocation.
struct BufferRange {
  const void* allocation = nullptr;  ///< identity only
  std::uint64_t begin = 0, end = 0;
  MemRangeRole role = MemRangeRole::src;

  static BufferRange from_buffer(const Buffer& b, MemRangeRole role) {
    return {b.allocation().get(), b.offset_bytes(), b.offset_bytes() + b.size_bytes(), role};
  }
};

/// Disjoint half-open intervals, sorted: a two-level B-tree. Adding and asking cost O(log n) with blocks of at most 128.
class IntervalSet {
 public:
  bool overlaps(std::uint64_t begin, std::uint64_t end) const;
  /// Adds [begin, end), merging it with what it touches.
  void insert(std::uint64_t begin, std::uint64_t end);
  /// Keeps the first block's storage.
  void clear() {
    if (blocks_.empty()) return;
    firsts_.clear();
    blocks_.resize(1);
    blocks_.front().clear();
  }
  bool empty() const { return firsts_.empty(); }
  /// The first byte and the end of the last; not of an empty set.
  std::uint64_t begin() const { return firsts_.front(); }
  std::uint64_t end() const { return blocks_.back().back().end; }

 private:
  struct Interval {
    std::uint64_t begin, end;
  };
  static constexpr std::size_t block_size = 128;
  std::size_t block_of(std::uint64_t begin) const;
  /// The first of a block that begins after `begin`.
  static std::size_t after(const std::vector<Interval>& block, std::uint64_t begin);

  std::vector<std::vector<Interval>> blocks_;  // sorted, all of one before all of the next; none empty but a lone first
  std::vector<std::uint64_t> firsts_;  // where each block that is not empty begins: searched in one piece of memory
};

/// The ranges of the dispatches recorded since the last barrier. Two dispatches conflict where one writes bytes that the
/// other reads or writes (RAW, WAR, WAW); reads never conflict with reads. Never fails: where there is no memory to tell
/// ranges apart, more conflicts are seen than there are.
class MemRanges {
 public:
  MemRanges() = default;

  /// Whether a dispatch with these reads and writes may run together with all that were added since the last reset.
  /// A false answer counts in barriers_forced(): put a barrier, reset(), then add the dispatch.
  bool check_dispatch(std::span<const BufferRange> reads, std::span<const BufferRange> writes);
  void add_dispatch(std::span<const BufferRange> reads, std::span<const BufferRange> writes);
  /// Check, reset() where there is a conflict, and add, in one pass: what an encoder does for each dispatch. The roles say
  /// which are read and which are written; the answer is check_dispatch's. An empty or inverted range holds no byte.
  bool place_dispatch(std::span<const BufferRange> ranges) {
    if (ranges.size() > most_ranges) return place_many(ranges);
    return place_dispatch(ranges.size(), [&](std::size_t i) -> const BufferRange& { return ranges[i]; });
  }
  /// The same with range(0) to range(n - 1), n at most most_ranges.
  template <class Range> bool place_dispatch(std::size_t n, const Range& range);
  /// Forgets all ranges, as a barrier allows. O(1).
  void reset();

  bool empty() const { return size_ == 0; }
  /// Ranges added since the last reset.
  std::size_t size() const { return size_; }
  std::uint64_t barriers_forced() const { return barriers_forced_; }

 private:
  static constexpr std::size_t most_ranges = 32;
  bool place_many(std::span<const BufferRange>);
  // The bytes of one allocation that are read, or those that are written. Most dispatches touch one stretch of it.
  struct Ranges {
    std::uint64_t begin = 0, end = 0;  // the one stretch, where set is null
    std::unique_ptr<IntervalSet> set;  // all of them; empty where the one stretch holds
    bool overlaps(std::uint64_t b, std::uint64_t e) const {
      if (set && !set->empty()) [[unlikely]]
        return set->overlaps(b, e);
      return b < end && begin < e && b < e;
    }
    void insert(std::uint64_t b, std::uint64_t e) {
      if (begin == end && !set && b < e) [[likely]]
        begin = b, end = e;
      else insert_more(b, e);
    }
    void insert_more(std::uint64_t b, std::uint64_t e) noexcept;
    void clear() {
      begin = end = 0;
      if (set) [[unlikely]]
        set->clear();
    }
  };
  // A slot of an older epoch counts as empty; its storage is reused.
  struct alignas(64) Slot {
    const void* allocation = nullptr;
    std::uint64_t epoch = 0;
    Ranges reads, writes;
    void renew(std::uint64_t now) {
      epoch = now;
      reads.clear();
      writes.clear();
    }
    bool conflicts(const BufferRange& r, bool writing) const {
      return writes.overlaps(r.begin, r.end) || (writing && reads.overlaps(r.begin, r.end));
    }
  };
  static std::size_t hash_of(const void* p) {
    return static_cast<std::size_t>((std::bit_cast<std::uintptr_t>(p) >> 4) * 0x9E3779B97F4A7C15ULL >> 20);
  }
  const Slot* find(const void* allocation) const;
  Slot& slot(const void* allocation);
  Slot& add_slot(const void* allocation, std::size_t at);
  /// Makes room for `more` slots, none of which then moves; false where there is no memory, or was none before.
  bool reserve(std::size_t more) { return (slots_.size() + more) * 2 <= index_.size() || grow(more); }
  bool grow(std::size_t more) noexcept;
  /// Instead of ranges there is no room for. Without an index the next dispatch comes to grow(), which says so.
  void add_unknown(std::size_t ranges) {
    unknown_ = true;
    index_.clear();
    size_ += ranges;
  }

  std::vector<Slot> slots_;  // in order of first use, of any epoch
  std::vector<std::uint32_t>
      index_;  // where an allocation's slot is, plus 1: open addressing, a power of two, half full
  std::uint64_t epoch_ = 1;
  bool unknown_ = false;  // what was added may be any bytes
  std::size_t size_ = 0;
  std::uint64_t barriers_forced_ = 0;
};

// The allocation's slot, emptied if it is of an older epoch. There must be room for one more.
inline MemRanges::Slot& MemRanges::slot(const void* allocation) {
  const std::size_t mask = index_.size() - 1;
  std::size_t i = hash_of(allocation) & mask;
  while (true) {
    if (!index_[i]) [[unlikely]]
      return add_slot(allocation, i);
    Slot& s = slots_[index_[i] - 1];
    if (s.allocation == allocation) [[likely]] {
      if (s.epoch != epoch_) s.renew(epoch_);
      return s;
    }
    i = (i + 1) & mask;
  }
}

template <class Range> bool MemRanges::place_dispatch(std::size_t n, const Range& range) {
  std::array<Slot*, most_ranges> slots;
  bool free = true;
  if (!reserve(n)) [[unlikely]] {
    free = false;
    ++barriers_forced_;
    reset();
    if (!reserve(n)) return add_unknown(n), false;
  }
  const bool room = free;
  for (std::size_t i = 0; i < n; ++i) {
    const BufferRange& r = range(i);
    slots[i] = &slot(r.allocation);
    free = free && !slots[i]->conflicts(r, r.role == MemRangeRole::dst);
  }
  if (!free && room) {
    ++barriers_forced_;
    reset();
    for (std::size_t i = 0; i < n; ++i) slots[i]->renew(epoch_);
  }
  for (std::size_t i = 0; i < n; ++i) {
    const BufferRange& r = range(i);
    (r.role == MemRangeRole::dst ? slots[i]->writes : slots[i]->reads).insert(r.begin, r.end);
  }
  size_ += n;
  return free;
}

}  // namespace halyard
