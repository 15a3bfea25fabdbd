#include "halyard/engine/page_contents.h"

#include <algorithm>
#include <stdexcept>

namespace halyard::engine {

std::uint64_t PageContents::mix(std::uint64_t before, std::span<const std::int32_t> tokens) {
  std::uint64_t h = before + 1;
  for (const std::int32_t t : tokens) {
    h = (h ^ static_cast<std::uint32_t>(t)) * 0x9E3779B97F4A7C15;
    h ^= h >> 29;
  }
  return h;
}

PageContents::PageContents(std::size_t pages, std::size_t page, Hash hash)
    : page_(page),
      hash_(hash),
      pages_(pages),
      tokens_(pages * page),
      buckets_(std::max<std::size_t>(pages, 1), kNone) {}

std::uint64_t PageContents::hash_after(std::int32_t before, std::span<const std::int32_t> tokens) const {
  return hash_(before == kNone ? 0 : at(before).hash, tokens);
}

std::int32_t PageContents::find(std::int32_t before, std::span<const std::int32_t> text) const {
  if (before != kNone && !knows(before)) return kNone;
  const std::uint64_t hash = hash_after(before, text);
  std::int32_t p = buckets_[hash % buckets_.size()];
  while (p != kNone && !(at(p).hash == hash && at(p).before == before && std::ranges::equal(tokens(p), text)))
    p = at(p).next;
  return p;
}

void PageContents::put(std::int32_t page, std::int32_t before, std::span<const std::int32_t> text) {
  if (knows(page) || (before != kNone && !knows(before)) || text.size() != page_)
    throw std::logic_error("a page whose content cannot be known");
  const std::uint64_t hash = hash_after(before, text);
  std::ranges::copy(text, tokens_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(page) * page_));
  at(page) = {.hash = hash, .before = before, .next = bucket(hash), .followers = 0, .known = true};
  bucket(hash) = page;
  if (before != kNone) ++at(before).followers;
}

void PageContents::forget(std::int32_t page) {
  if (!knows(page) || is_followed(page))
    throw std::logic_error("a page that is not known, or that others follow, is forgotten");
  std::int32_t* link = &bucket(at(page).hash);
  while (*link != page) link = &at(*link).next;
  *link = at(page).next;
  if (const std::int32_t before = at(page).before; before != kNone) --at(before).followers;
  at(page) = {};
}

}  // namespace halyard::engine
