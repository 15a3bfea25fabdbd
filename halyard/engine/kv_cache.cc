#include "halyard/engine/kv_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/engine/steps.h"
#include "halyard/ops/attention/attention.h"

namespace halyard::engine {
namespace {

constexpr std::size_t kPage = ops::kPageUnit;

Shape shape_of_slots(std::size_t slots, const Shape& part) {
  std::vector<std::size_t> dims = {slots};
  dims.insert(dims.end(), part.dims().begin(), part.dims().end());
  return Shape(std::span<const std::size_t>(dims));
}

}  // namespace

DType kv_dtype(const models::Model& model) {
  return model.precision() == ops::Precision::exact ? DType::f32 : DType::f16;
}

std::size_t pages_for(std::size_t positions) { return (positions + kPage - 1) / kPage; }

bool has_pages(std::span<const models::LayerSpec> specs) {
  return std::any_of(specs.begin(), specs.end(), [](const models::LayerSpec& s) { return s.kv_heads != 0; });
}
bool has_slots(std::span<const models::LayerSpec> specs) {
  return std::any_of(specs.begin(), specs.end(), [](const models::LayerSpec& s) { return !s.slot.empty(); });
}

Result<std::vector<models::LayerState>> allocate_state(Device& device, std::span<const models::LayerSpec> specs,
                                                       DType type, std::size_t pages, std::size_t slots) {
  std::vector<models::LayerState> layers;
  for (const models::LayerSpec& s : specs) {
    models::LayerState l;
    if (s.kv_heads != 0) {
      const Shape shape{pages, s.kv_heads, kPage, s.head_dim};
      l.k = HALYARD_TRY(device.alloc(type, shape));
      l.v = HALYARD_TRY(device.alloc(type, shape));
    }
    for (const Shape& part : s.slot)
      l.slot.push_back(HALYARD_TRY(device.alloc(DType::f32, shape_of_slots(slots, part))));
    layers.push_back(std::move(l));
  }
  return layers;
}

KvCache::KvCache(std::size_t pages, KvCacheOptions options)
    : options_(options), book_(pages, kPage), id_(book_.open()) {}

Result<KvCache> KvCache::make(Device device, std::span<const models::LayerSpec> specs, KvCacheOptions options) {
  const bool paged = has_pages(specs), slotted = has_slots(specs);
  if (!paged) options.rotating = false;  // what is in slots is dropped bit by bit anyway
  // A full window may be put in order again, with the new positions behind it: both forms then lie side by side.
  const std::size_t most = options.rotating ? options.limit + options.step : options.limit;
  std::size_t pages = paged ? pages_for(most) * (options.rotating ? 2 : 1) : 0;
  const std::size_t slots = slotted ? kSlots : 0;
  auto layers = allocate_state(device, specs, options.dtype, pages, slots);
  const std::size_t least = std::min(pages, pages_for(options.step) * (options.rotating ? 2 : 1));
  while (!layers && layers.error().code == Errc::out_of_memory && pages > least) {
    pages = std::max(pages / 2, least);
    layers = allocate_state(device, specs, options.dtype, pages, slots);
  }
  if (!layers) return fail(std::move(layers).error(), fmt::format("a KV cache of {} positions", pages * kPage));
  KvCache c(pages, options);
  c.paged_ = paged;
  c.slotted_ = slotted;
  c.layers_ = std::move(*layers);
  c.max_pages_ = std::min(pages, pages_for(most));
  for (const models::LayerState& l : c.layers_) {
    if (l.k) c.page_bytes_ += (l.k.size_bytes() + l.v.size_bytes()) / pages;
    for (const Buffer& part : l.slot) c.slot_bytes_ += part.size_bytes();
  }
  return c;
}

std::int32_t KvCache::free_slot() const {
  for (std::int32_t s = 0; s < kSlots; ++s)
    if (s != slot_ && s != marked_.slot) return s;
  return -1;
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
  } else if (!paged_) {
    p.slots.assign(n, -1);
  } else {
    auto r = book_.reserve(id_, n);
    if (!r) return fail(std::move(r).error(), fmt::format("a KV cache of {} positions", need));
    p = {std::move(r->slots), size(), 0};
  }
  if (rotating() && n > 1) p.window = limit;
  if (slotted_) {
    p.slot_from = slot_;
    p.slot_to = next_slot_ = free_slot();
  }
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
  slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(first),
              slots.begin() + static_cast<std::ptrdiff_t>(first + drop));
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
  if (slotted_) slot_ = next_slot_;
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
  slot_ = -1;
  mark();
  lost_ = false;
}

bool KvCache::truncate(std::size_t n) {
  if (n == position_) return true;
  if (n > position_ || size() != position_) return false;
  if (slotted_ && n != 0 && n != marked_.position) return false;
  if (slotted_) slot_ = n == 0 ? -1 : marked_.slot;
  if (paged_) book_.truncate(id_, n);
  position_ = n;
  return true;
}

}  // namespace halyard::engine
