#include "halyard/hal/hazard.h"

#include <algorithm>
#include <new>

namespace halyard {

namespace {

// How many of n sorted items lie at or before `key`. Without branches: their outcome could not be predicted.
template <class Item, class KeyOf>
std::size_t count_up_to(const Item* items, std::size_t n, std::uint64_t key, const KeyOf& key_of) {
  const Item* at = items;
  while (n > 1) {
    const std::size_t half = n / 2;
    at += key_of(at[half - 1]) <= key ? half : 0;
    n -= half;
  }
  return static_cast<std::size_t>(at - items) + (n == 1 && key_of(*at) <= key);
}

}  // namespace

// The last block that begins at or before `begin`; 0 where none does.
std::size_t IntervalSet::block_of(std::uint64_t begin) const {
  const std::size_t n = count_up_to(firsts_.data(), firsts_.size(), begin, [](std::uint64_t first) { return first; });
  return n ? n - 1 : 0;
}

std::size_t IntervalSet::after(const std::vector<Interval>& block, std::uint64_t begin) {
  return count_up_to(block.data(), block.size(), begin, [](const Interval& i) { return i.begin; });
}

bool IntervalSet::overlaps(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end || empty()) return false;
  const std::size_t b = block_of(begin);
  const auto& block = blocks_[b];
  const std::size_t next = after(block, begin);
  if (next > 0 && block[next - 1].end > begin) return true;
  if (next < block.size()) return block[next].begin < end;
  return b + 1 < firsts_.size() && firsts_[b + 1] < end;
}

void IntervalSet::insert(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  if (empty()) {
    if (blocks_.empty()) blocks_.emplace_back();
    blocks_.front().push_back({begin, end});
    firsts_.push_back(begin);
    return;
  }
  std::size_t b = block_of(begin);
  auto at = blocks_[b].begin() + static_cast<std::ptrdiff_t>(after(blocks_[b], begin));
  if (at != blocks_[b].begin() && (at - 1)->end >= begin) {  // touches its predecessor: extend that
    --at;
    at->end = std::max(at->end, end);
  } else {
    at = blocks_[b].insert(at, {begin, end});
  }
  // Swallow the successors it now touches, here and in the blocks that follow.
  const auto index = static_cast<std::size_t>(at - blocks_[b].begin());
  Interval merged = *at;
  std::size_t i = index + 1, in = b;
  while (in < blocks_.size()) {
    auto& block = blocks_[in];
    const std::size_t first = i;
    while (i < block.size() && block[i].begin <= merged.end) merged.end = std::max(merged.end, block[i++].end);
    const bool stopped = i < block.size();
    block.erase(block.begin() + static_cast<std::ptrdiff_t>(first), block.begin() + static_cast<std::ptrdiff_t>(i));
    if (stopped) break;
    ++in;
    i = 0;
  }
  blocks_[b][index] = merged;
  firsts_[b] = blocks_[b].front().begin;
  const auto nth = [](auto& list, std::size_t n) { return list.begin() + static_cast<std::ptrdiff_t>(n); };
  if (in > b + 1) {  // those between were swallowed whole
    blocks_.erase(nth(blocks_, b + 1), nth(blocks_, in));
    firsts_.erase(nth(firsts_, b + 1), nth(firsts_, in));
  }
  if (b + 1 < blocks_.size()) firsts_[b + 1] = blocks_[b + 1].front().begin;  // its first may have been swallowed
  if (blocks_[b].size() > block_size) {
    auto& full = blocks_[b];
    std::vector<Interval> upper(full.begin() + block_size / 2, full.end());
    upper.reserve(block_size + 1);
    full.resize(block_size / 2);
    firsts_.insert(nth(firsts_, b + 1), upper.front().begin);
    blocks_.insert(nth(blocks_, b + 1), std::move(upper));
  }
}

const MemRanges::Slot* MemRanges::find(const void* allocation) const {
  if (index_.empty()) return nullptr;
  const std::size_t mask = index_.size() - 1;
  for (std::size_t i = hash_of(allocation) & mask; index_[i]; i = (i + 1) & mask) {
    const Slot& s = slots_[index_[i] - 1];
    if (s.allocation == allocation) return s.epoch == epoch_ ? &s : nullptr;
  }
  return nullptr;
}

MemRanges::Slot& MemRanges::add_slot(const void* allocation, std::size_t at) {
  slots_.push_back({allocation, epoch_, {}, {}});
  index_[at] = static_cast<std::uint32_t>(slots_.size());
  return slots_.back();
}

bool MemRanges::grow(std::size_t more) noexcept {
  if (unknown_) return false;
  // Slots of an older epoch are empty: only the live ones count for the size.
  const auto old = [&](const Slot& s) { return s.epoch != epoch_; };
  const auto live = slots_.size() - static_cast<std::size_t>(std::count_if(slots_.begin(), slots_.end(), old));
  const std::size_t size = std::bit_ceil(std::max<std::size_t>(256, (live + more) * 4));
  try {
    index_.reserve(size);
    slots_.reserve(size / 2);
  } catch (const std::bad_alloc&) { return false; }
  std::erase_if(slots_, old);
  index_.assign(size, 0);
  const std::size_t mask = index_.size() - 1;
  for (std::uint32_t k = 0; k < slots_.size(); ++k) {
    std::size_t i = hash_of(slots_[k].allocation) & mask;
    while (index_[i]) i = (i + 1) & mask;
    index_[i] = k + 1;
  }
  return true;
}

void MemRanges::Ranges::insert_more(std::uint64_t b, std::uint64_t e) noexcept {
  if (b >= e) return;
  const bool many = set && !set->empty();
  if (!many && begin == end) {
    begin = b;
    end = e;
    return;
  }
  // The one stretch that holds all of it.
  const std::uint64_t low = std::min(many ? set->begin() : begin, b), high = std::max(many ? set->end() : end, e);
  const bool touches = b <= end && begin <= e;
  try {
    if (!set && !touches) set = std::make_unique<IntervalSet>();
    if (many || !touches) {
      if (!many) set->insert(begin, end);
      return set->insert(b, e);
    }
  } catch (const std::bad_alloc&) {
    set.reset();  // what lies between counts as bound too: at worst a barrier too many
  }
  begin = low;
  end = high;
}

bool MemRanges::check_dispatch(std::span<const BufferRange> reads, std::span<const BufferRange> writes) {
  if (unknown_) return ++barriers_forced_, false;
  const auto conflicts = [&](const BufferRange& r, bool writing) {
    const Slot* s = find(r.allocation);
    return s && s->conflicts(r, writing);
  };
  for (const auto& r : reads)
    if (conflicts(r, false)) return ++barriers_forced_, false;
  for (const auto& w : writes)
    if (conflicts(w, true)) return ++barriers_forced_, false;
  return true;
}

void MemRanges::add_dispatch(std::span<const BufferRange> reads, std::span<const BufferRange> writes) {
  if (!reserve(reads.size() + writes.size())) return add_unknown(reads.size() + writes.size());
  for (const auto& r : reads) slot(r.allocation).reads.insert(r.begin, r.end);
  for (const auto& w : writes) slot(w.allocation).writes.insert(w.begin, w.end);
  size_ += reads.size() + writes.size();
}

bool MemRanges::place_many(std::span<const BufferRange> ranges) {
  std::vector<BufferRange> reads, writes;
  try {
    for (const BufferRange& r : ranges) (r.role == MemRangeRole::dst ? writes : reads).push_back(r);
  } catch (const std::bad_alloc&) {
    ++barriers_forced_;
    reset();
    add_unknown(ranges.size());
    return false;
  }
  const bool free = check_dispatch(reads, writes);
  if (!free) reset();
  add_dispatch(reads, writes);
  return free;
}

void MemRanges::reset() {
  ++epoch_;
  size_ = 0;
  unknown_ = false;
}

}  // namespace halyard
