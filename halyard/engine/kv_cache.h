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
  /// At the limit: false: an error; true: the first `keep` positions stay and the oldest after them are dropped, an eighth of
  /// the limit at a time, so that the copying is paid for seldom. (mlx-lm overwrites one position a token; ours then holds
  /// between 7/8 of the limit and the limit.) Keys keep the angle of the place in the text they were read at.
  bool rotating = false;
  std::size_t keep = 4;
};

/// Grows by doubling, from 256 positions up to the limit.
class KvCache {
 public:
  KvCache(Device device, std::vector<models::LayerKvShape> shapes, KvCacheOptions options)
      : device_(std::move(device)), shapes_(std::move(shapes)), options_(options) {}

  /// Makes room for `n` more positions, recording what copies that needs. Errc::limit_exceeded where they would pass the
  /// limit; n itself must not, less `keep`, when rotating.
  Result<void> reserve(CommandEncoder&, std::size_t n);
  /// The last `n` positions reserved have been recorded.
  void advance(std::size_t n) {
    size_ += n;
    position_ += n;
  }
  /// Forgets all positions; keeps the memory.
  void reset() { size_ = position_ = 0; }
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
  Result<void> move(CommandEncoder&, std::size_t capacity, std::size_t drop);

  Device device_;
  std::vector<models::LayerKvShape> shapes_;
  KvCacheOptions options_;
  std::vector<models::LayerKv> layers_;
  std::size_t capacity_ = 0, size_ = 0, position_ = 0;
  std::uint64_t generation_ = 0;
};

}  // namespace halyard::engine
