#include "halyard/hal/hazard.h"

#include <algorithm>

namespace halyard {

// The last block whose first interval begins at or before `begin`; 0 where none does.
std::size_t IntervalSet::block_of(std::uint64_t begin) const {
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), begin,
                                      [](std::uint64_t b, const auto& block) { return b < block.front().begin; });
  return after == blocks_.begin() ? 0 : static_cast<std::size_t>(after - blocks_.begin()) - 1;
}

bool IntervalSet::overlaps(std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end || empty()) return false;
  const auto& block = blocks_[block_of(begin)];
  const auto after = std::upper_bound(block.begin(), block.end(), begin,
                                      [](std::uint64_t b, const Interval& i) { return b < i.begin; });
  if (after != block.begin() && (after - 1)->end > begin) return true;
  if (after != block.end()) return after->begin < end;
  const std::size_t next = static_cast<std::size_t>(&block - blocks_.data()) + 1;
  return next < blocks_.size() && blocks_[next].front().begin < end;
}

void IntervalSet::insert(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  if (empty()) {
    if (blocks_.empty()) blocks_.emplace_back();
    blocks_.front().push_back({begin, end});
    return;
  }
  std::size_t b = block_of(begin);
  auto at = std::upper_bound(blocks_[b].begin(), blocks_[b].end(), begin,
                             [](std::uint64_t v, const Interval& i) { return v < i.begin; });
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
  if (in > b + 1)  // those between were swallowed whole
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(b) + 1, blocks_.begin() + static_cast<std::ptrdiff_t>(in));
  if (blocks_[b].size() > block_size) {
    auto& full = blocks_[b];
    std::vector<Interval> upper(full.begin() + block_size / 2, full.end());
    full.resize(block_size / 2);
    blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(b) + 1, std::move(upper));
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

// Makes room for `more` slots, none of which then moves.
void MemRanges::grow(std::size_t more) {
  // Slots of an older epoch are empty: only the live ones count for the size.
  std::erase_if(slots_, [&](const Slot& s) { return s.epoch != epoch_; });
  index_.assign(std::bit_ceil(std::max<std::size_t>(256, (slots_.size() + more) * 4)), 0);
  slots_.reserve(index_.size() / 2);
  const std::size_t mask = index_.size() - 1;
  for (std::uint32_t k = 0; k < slots_.size(); ++k) {
    std::size_t i = hash_of(slots_[k].allocation) & mask;
    while (index_[i]) i = (i + 1) & mask;
    index_[i] = k + 1;
  }
}

void MemRanges::Ranges::insert_more(std::uint64_t b, std::uint64_t e) {
  if (b >= e) return;
  if (set && !set->empty()) return set->insert(b, e);
  if (begin == end) {
    begin = b;
    end = e;
  } else if (b <= end && begin <= e) {  // overlaps or touches
    begin = std::min(begin, b);
    end = std::max(end, e);
  } else {
    if (!set) set = std::make_unique<IntervalSet>();
    set->insert(begin, end);
    set->insert(b, e);
  }
}

bool MemRanges::check_dispatch(std::span<const BufferRange> reads, std::span<const BufferRange> writes) {
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
  reserve(reads.size() + writes.size());
  for (const auto& r : reads) slot(r.allocation).reads.insert(r.begin, r.end);
  for (const auto& w : writes) slot(w.allocation).writes.insert(w.begin, w.end);
  size_ += reads.size() + writes.size();
}

void MemRanges::reset() {
  ++epoch_;
  size_ = 0;
}

}  // namespace halyard
