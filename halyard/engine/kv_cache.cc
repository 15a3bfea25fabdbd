#include "halyard/engine/kv_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/engine/steps.h"
#include "halyard/ops/attention/attention.h"

namespace halyard::engine {
namespace {

constexpr std::size_t kPage = ops::kPageUnit;

}  // namespace

DType kv_dtype(const models::Model& model) { return model.precision() == ops::Precision::exact ? DType::f32 : DType::f16; }

std::size_t pages_for(std::size_t positions) { return (positions + kPage - 1) / kPage; }

Result<std::vector<models::LayerKv>> allocate_pages(Device& device, std::span<const models::LayerKvShape> shapes,
                                                    DType type, std::size_t pages) {
  std::vector<models::LayerKv> layers;
  for (const models::LayerKvShape& s : shapes) {
    const Shape shape{pages, s.kv_heads, kPage, s.head_dim};
    models::LayerKv l;
    l.k = HALYARD_TRY(device.alloc(type, shape));
    l.v = HALYARD_TRY(device.alloc(type, shape));
    layers.push_back(std::move(l));
  }
  return layers;
}

KvCache::KvCache(std::size_t pages, KvCacheOptions options)
    : options_(options), book_(pages, kPage), id_(book_.open()) {}

Result<KvCache> KvCache::make(Device device, std::span<const models::LayerKvShape> shapes, KvCacheOptions options) {
  // A full window may be put in order again, with the new positions behind it: both forms then lie side by side.
  const std::size_t most = options.rotating ? options.limit + options.step : options.limit;
  std::size_t pages = pages_for(most) * (options.rotating ? 2 : 1);
  auto layers = allocate_pages(device, shapes, options.dtype, pages);
  const std::size_t least = std::min(pages, pages_for(options.step) * (options.rotating ? 2 : 1));
  while (!layers && layers.error().code == Errc::out_of_memory && pages > least) {
    pages = std::max(pages / 2, least);
    layers = allocate_pages(device, shapes, options.dtype, pages);
  }
  if (!layers) return fail(std::move(layers).error(), fmt::format("a KV cache of {} positions", pages * kPage));
  KvCache c(pages, options);
  c.layers_ = std::move(*layers);
  c.max_pages_ = std::min(pages, pages_for(most));
  for (const models::LayerKv& l : c.layers_) c.page_bytes_ += (l.k.size_bytes() + l.v.size_bytes()) / pages;
  return c;
}

Result<Placement> KvCache::reserve(CommandEncoder& e, std::size_t n) {
  const std::size_t need = size() + n, limit = options_.limit;
  if (need > limit && !rotating()) {
    return fail(Errc::limit_exceeded,
                fmt::format("the text would be {} tokens long, the context is {}", position_ + n, limit));
  }
  Placement p;
  const std::size_t drop = size() - std::min(size(), limit - 1);  // to make room for one
  if (rotating() && ((need > limit && drop > 0) || (oldest_ != 0 && n > 1))) {
    if (n == 1 && size() == limit) {
      p = {{slot(oldest_ ? oldest_ : kept())}, limit - 1, 0};
      replaces_ = true;
    } else {
      p = HALYARD_TRY(rearrange(e, drop, n));
    }
  } else {
    auto r = book_.reserve(id_, n);
    if (!r) return fail(std::move(r).error(), fmt::format("a KV cache of {} positions", need));
    p = {std::move(r->slots), size(), 0};
  }
  if (rotating() && n > 1) p.window = limit;
  reserved_ = n;
  return p;
}

/// New pages with the entries in the order of the text, less the `drop` oldest that may go, and room for `n` more.
Result<Placement> KvCache::rearrange(CommandEncoder& e, std::size_t drop, std::size_t n) {
  const std::vector<std::int32_t> from = in_order(drop);
  next_ = book_.open();
  auto r = book_.reserve(*next_, from.size() + n);
  if (!r) {
    cancel();
    return fail(std::move(r).error(), fmt::format("a KV cache of {} positions", from.size() + n));
  }
  const std::span<const std::int32_t> to = r->slots;
  if (auto copied = copy_slots(e, layers_, from, to.first(from.size())); !copied) {
    cancel();
    return tl::unexpected(std::move(copied).error());
  }
  return Placement{{to.begin() + static_cast<std::ptrdiff_t>(from.size()), to.end()}, from.size(), 0};
}

/// Entries that are never dropped.
std::size_t KvCache::kept() const { return std::min({options_.keep, options_.limit - 1, size()}); }

/// Slots of the entries in the order of the text, less the `drop` oldest that may be dropped.
std::vector<std::int32_t> KvCache::in_order(std::size_t drop) const {
  const std::size_t first = kept(), oldest = oldest_ ? oldest_ : first;
  std::vector<std::int32_t> slots;
  const auto add = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) slots.push_back(slot(i));
  };
  add(0, first);
  add(oldest, size());
  add(first, oldest);
  slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(first), slots.begin() + static_cast<std::ptrdiff_t>(first + drop));
  return slots;
}

void KvCache::commit() {
  if (replaces_) {
    oldest_ = (oldest_ ? oldest_ : kept()) + 1;
    if (oldest_ == size()) oldest_ = kept();
  } else if (next_) {
    book_.commit(*next_);
    book_.close(id_);
    id_ = *next_;
    oldest_ = 0;
  } else {
    book_.commit(id_);
  }
  next_.reset();
  replaces_ = false;
  position_ += std::exchange(reserved_, 0);
}

void KvCache::cancel() {
  if (next_) book_.close(*next_);
  next_.reset();
  book_.drop(id_);
  lost_ = lost_ || replaces_;
  replaces_ = false;
  reserved_ = 0;
}

void KvCache::roll_back(std::size_t position) {
  cancel();
  lost_ = !truncate(position) || lost_;
}

void KvCache::reset() {
  cancel();
  book_.truncate(id_, 0);
  position_ = oldest_ = 0;
  lost_ = false;
}

bool KvCache::truncate(std::size_t n) {
  if (n == position_) return true;
  if (n > position_ || size() != position_) return false;
  book_.truncate(id_, n);
  position_ = n;
  return true;
}

}  // namespace halyard::engine
