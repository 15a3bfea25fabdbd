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
  if (options_.rotating && (need > limit || (oldest_ != 0 && n > 1))) return rotate(e, n);
  if (need <= capacity_) return {};
  if (need <= limit) return move(e, std::min(limit, std::max({need, 2 * capacity_, kFirstCapacity})), in_order(0));
  return fail(Errc::limit_exceeded,
              fmt::format("the text would be {} tokens long, the context is {}", position_ + n, limit));
}

/// Makes room where the window is full.
Result<void> KvCache::rotate(CommandEncoder& e, std::size_t n) {
  const std::size_t limit = options_.limit;
  if (n == 1 && size_ == limit) return replace_oldest(e);
  const std::size_t drop = size_ - std::min(size_, limit - 1), held = size_ - drop;
  return move(e, n == 1 ? limit : std::max(capacity_, held + n), in_order(drop));
}

/// Puts the newest entry, the last, in the oldest one's place: the last is free, and nothing else has moved.
Result<void> KvCache::replace_oldest(CommandEncoder& e) {
  const std::size_t last = size_ - 1;
  if (oldest_ == 0) oldest_ = kept();
  if (oldest_ < last) {
    for (const models::LayerKv& l : layers_) {
      HALYARD_TRY(copy_rows(e, l.k, last, 1, l.k, oldest_));
      HALYARD_TRY(copy_rows(e, l.v, last, 1, l.v, oldest_));
    }
  }
  if (++oldest_ >= last) oldest_ = kept();
  size_ = last;
  return {};
}

/// Entries that are never dropped.
std::size_t KvCache::kept() const { return std::min({options_.keep, options_.limit - 1, size_}); }

/// The entries in the order of the text, less the `drop` oldest that may be dropped.
std::vector<KvCache::Run> KvCache::in_order(std::size_t drop) const {
  const std::size_t first = drop > 0 || oldest_ != 0 ? kept() : 0, last = size_ - std::min<std::size_t>(size_, 1);
  std::vector<Run> runs{{0, first}};
  if (oldest_ == 0) runs.push_back({first, size_ - first});
  else runs.insert(runs.end(), {{oldest_, last - oldest_}, {first, oldest_ - first}, {last, 1}});
  for (std::size_t i = 1; i < runs.size(); ++i) {
    const std::size_t gone = std::min(drop, runs[i].n);
    runs[i] = {runs[i].begin + gone, runs[i].n - gone};
    drop -= gone;
  }
  return runs;
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

/// New memory of `capacity` positions with these entries. Work in flight holds on to the old memory.
Result<void> KvCache::move(CommandEncoder& e, std::size_t capacity, std::span<const Run> runs) {
  std::vector<models::LayerKv> moved;
  moved.reserve(shapes_.size());
  std::size_t held = 0;
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
    held = 0;
    for (const Run& run : runs) {
      if (run.n == 0) continue;
      HALYARD_TRY(copy_rows(e, layers_[i].k, run.begin, run.n, to.k, held));
      HALYARD_TRY(copy_rows(e, layers_[i].v, run.begin, run.n, to.v, held));
      held += run.n;
    }
    moved.push_back(std::move(to));
  }
  layers_ = std::move(moved);
  capacity_ = capacity;
  ++generation_;
  size_ = held;
  oldest_ = 0;
  return {};
}

}  // namespace halyard::engine
