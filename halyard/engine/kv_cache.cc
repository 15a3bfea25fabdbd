#include "halyard/engine/kv_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/ops/copy/copy.h"

namespace halyard::engine {
namespace {

constexpr std::size_t kFirstCapacity = 256;

/// to[h, at + i, :] = from[h, begin + i, :] for i < n. from, to: [heads, capacity, D]; a head's rows lie together.
Result<void> copy_rows(CommandEncoder& e, const Buffer& from, std::size_t begin, std::size_t n, const Buffer& to,
                       std::size_t at) {
  if (n == 0) return {};
  const std::size_t heads = from.shape()[0], dim = from.shape()[2], row = dim * size_of(from.dtype());
  for (std::size_t h = 0; h < heads; ++h) {
    const Buffer src = HALYARD_TRY(from.view((h * from.shape()[1] + begin) * row, from.dtype(), {n, dim}));
    const Buffer dst = HALYARD_TRY(to.view((h * to.shape()[1] + at) * row, to.dtype(), {n, dim}));
    HALYARD_TRY(ops::copy(e, src, dst));
  }
  return {};
}

}  // namespace

Result<void> KvCache::reserve(CommandEncoder& e, std::size_t n) {
  const std::size_t need = size_ + n, limit = options_.limit;
  if (need <= capacity_) return {};
  if (need <= limit) return move(e, std::min(limit, std::max({need, 2 * capacity_, kFirstCapacity})), 0);
  if (!options_.rotating) {
    return fail(Errc::limit_exceeded,
                fmt::format("the text would be {} tokens long, the context is {}", position_ + n, limit));
  }
  if (n + options_.keep > limit) {
    return fail(Errc::limit_exceeded, fmt::format("{} tokens at once do not fit a cache of {} that keeps its first {}",
                                                  n, limit, options_.keep));
  }
  const std::size_t droppable = size_ - std::min(size_, options_.keep);
  return move(e, limit, std::min(droppable, std::max(need - limit, limit / 8)));
}

bool KvCache::truncate(std::size_t n) {
  if (n > position_ || size_ != position_) return false;
  size_ = position_ = n;
  return true;
}

std::size_t KvCache::bytes() const {
  std::size_t sum = 0;
  for (const models::LayerKv& l : layers_) sum += l.k.size_bytes() + l.v.size_bytes();
  return sum;
}

/// New memory of `capacity` positions with what is held, less the `drop` oldest after the first `keep`. Work in flight
/// holds on to the old memory.
Result<void> KvCache::move(CommandEncoder& e, std::size_t capacity, std::size_t drop) {
  const std::size_t kept = drop > 0 ? std::min(options_.keep, size_) : 0;
  const std::size_t rest = size_ - kept - drop;
  std::vector<models::LayerKv> moved;
  moved.reserve(shapes_.size());
  for (std::size_t i = 0; i < shapes_.size(); ++i) {
    const Shape shape{shapes_[i].kv_heads, capacity, shapes_[i].head_dim};
    const auto fresh = [&]() -> Result<Buffer> {
      auto b = device_.alloc(options_.dtype, shape);
      if (!b) return fail(std::move(b).error(), fmt::format("a KV cache of {} positions", capacity));
      return b;
    };
    models::LayerKv to;
    to.k = HALYARD_TRY(fresh());
    to.v = HALYARD_TRY(fresh());
    if (size_ > 0) {
      const models::LayerKv& from = layers_[i];
      for (const auto& [src, dst] : {std::pair{&from.k, &to.k}, std::pair{&from.v, &to.v}}) {
        HALYARD_TRY(copy_rows(e, *src, 0, kept, *dst, 0));
        HALYARD_TRY(copy_rows(e, *src, kept + drop, rest, *dst, kept));
      }
    }
    moved.push_back(std::move(to));
  }
  layers_ = std::move(moved);
  capacity_ = capacity;
  ++generation_;
  size_ = kept + rest;
  return {};
}

}  // namespace halyard::engine
