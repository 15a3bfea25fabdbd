// Records and what they need to stay valid: bindings, constants, memory. Internal to hal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "halyard/hal/hazard.h"
#include "halyard/hal/record.h"

namespace halyard {

struct PlanState;

/// Keeps memory for work that uses it. It is no handle: memory leaves the residency set with its last Buffer.
class AllocationRef {
 public:
  AllocationRef() = default;
  explicit AllocationRef(Allocation&);
  AllocationRef(const AllocationRef& other);
  AllocationRef(AllocationRef&& other) noexcept : allocation_(std::exchange(other.allocation_, nullptr)) {}
  AllocationRef& operator=(AllocationRef other) noexcept {
    std::swap(allocation_, other.allocation_);
    return *this;
  }
  ~AllocationRef() {
    if (allocation_) let_go(allocation_);
  }
  Allocation* get() const { return allocation_; }
  Allocation* operator->() const { return allocation_; }

 private:
  static void let_go(Allocation*);
  Allocation* allocation_ = nullptr;
};

/// Memory handed out front to back and taken back together.
class Arena {
 public:
  /// Uninitialised bytes, aligned to 8.
  std::byte* take(std::size_t bytes) {
    bytes = (bytes + 7) & ~std::size_t{7};
    if (bytes > left_) [[unlikely]]
      next_block(bytes);
    std::byte* p = next_;
    next_ += bytes;
    left_ -= bytes;
    return p;
  }
  /// Takes all back, keeping some memory for the next round.
  void clear() {
    std::erase_if(blocks_, [](const Block& b) { return b.bytes > block_bytes; });
    blocks_.resize(std::min(blocks_.size(), kept_blocks));
    used_ = left_ = 0;
  }

 private:
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    std::size_t bytes;
  };
  void next_block(std::size_t bytes) {
    if (used_ == blocks_.size() || bytes > blocks_[used_].bytes) {
      const std::size_t size = std::max(bytes, block_bytes);
      blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(used_),
                     Block{std::make_unique_for_overwrite<std::byte[]>(size), size});
    }
    next_ = blocks_[used_].memory.get();
    left_ = blocks_[used_++].bytes;
  }
  static constexpr std::size_t block_bytes = std::size_t{16} << 10, kept_blocks = 64;
  std::vector<Block> blocks_;
  std::size_t used_ = 0;  // blocks
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
};

/// A ParameterPlace of a captured record.
struct RecordedPlace {
  std::string name;
  std::uint32_t record, at, bytes;
  std::uint64_t most;
};

/// A plan replayed after the first `at` records: all of them finish before it starts, and it before the next one.
struct PlanCall {
  std::shared_ptr<const PlanState> plan;
  std::size_t at;
  const std::byte* constants;  ///< PlanState::constants with this replay's values
};

/// A sequence of dispatches and everything they need to stay valid.
struct Recording {
  std::vector<Record> records;
  std::vector<AllocationRef> retained;  ///< each allocation that a record binds, at least once
  Arena arena;
  std::vector<PlanCall> calls;        ///< in order; none in a graph's
  std::vector<RecordedPlace> places;  ///< parameters; a graph's only
  std::vector<RecordedPlace>
      unused;        ///< parameters of dispatches that a pass removed: their names and bounds still hold
  MemRanges ranges;  ///< while recording: what was bound since the last barrier

  /// Empties it, keeping memory for as many records as most command buffers have.
  void clear() {
    constexpr std::size_t kept = 16384;
    if (records.capacity() > kept) records = {};
    if (retained.capacity() > kept) retained = {};
    records.clear();
    retained.clear();
    calls.clear();
    places.clear();
    unused.clear();
    arena.clear();
    ranges.reset();
  }
};

}  // namespace halyard
