// The keys and values of one sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halyard/hal/device.h"
#include "halyard/models/model.h"

namespace halyard::engine {

struct KvCacheOptions {
  DType dtype = DType::f16;  ///< f16, or f32 for the exact path
  std::size_t limit = 0;     ///< positions it may hold
  /// At the limit: false: an error; true: the first `keep` positions stay, as far as they leave room for one more, and the
  /// oldest after them are dropped, as mlx-lm's RotatingKVCache does. A single position takes the place of the oldest, so
  /// entries are then in no order, and all of them are seen. Several at once are put after what is held, in the order of the
  /// text and less all but limit - 1 of it; each sees the last `limit` entries. Keys keep the angle of the place in the text
  /// they were read at.
  bool rotating = false;
  std::size_t keep = 4;
};

/// Grows by doubling, from 256 positions up to the limit.
class KvCache {
 public:
  KvCache(Device device, std::vector<models::LayerKvShape> shapes, KvCacheOptions options)
      : device_(std::move(device)), shapes_(std::move(shapes)), options_(options) {}

  /// Makes room for `n` more positions, recording what copies that needs. Errc::limit_exceeded where they would pass the
  /// limit of a cache that does not rotate.
  Result<void> reserve(CommandEncoder&, std::size_t n);
  /// The last `n` positions reserved have been recorded.
  void advance(std::size_t n) {
    size_ += n;
    position_ += n;
  }
  /// Forgets all positions; keeps the memory.
  void reset() { size_ = position_ = oldest_ = 0; }
  /// Forgets what was read after the first `n` positions. False where dropped positions make that impossible.
  bool truncate(std::size_t n);

  std::span<const models::LayerKv> layers() const { return layers_; }
  std::size_t size() const { return size_; }          ///< positions held
  std::size_t position() const { return position_; }  ///< positions read: where the next token stands in the text
  std::size_t capacity() const { return capacity_; }
  std::size_t limit() const { return options_.limit; }
  bool rotating() const { return options_.rotating; }
  std::size_t bytes() const;
  /// Changes whenever layers() become other memory.
  std::uint64_t generation() const { return generation_; }

 private:
  /// A run of entries.
  struct Run {
    std::size_t begin, n;
  };
  std::size_t kept() const;
  std::vector<Run> in_order(std::size_t drop) const;
  Result<void> move(CommandEncoder&, std::size_t capacity, std::span<const Run>);
  Result<void> replace_oldest(CommandEncoder&);
  Result<void> rotate(CommandEncoder&, std::size_t n);

  Device device_;
  std::vector<models::LayerKvShape> shapes_;
  KvCacheOptions options_;
  std::vector<models::LayerKv> layers_;
  std::size_t capacity_ = 0, size_ = 0, position_ = 0;
  std::size_t oldest_ = 0;  // entry after the kept ones that is next to go; 0: entries are in the order of the text
  std::uint64_t generation_ = 0;
};

}  // namespace halyard::engine
