#include "halyard/engine/page_book.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace halyard::engine {
namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

}  // namespace

PageBook::Sequence& PageBook::of(Id id) {
  require(id < sequences_.size() && sequences_[id].has_value(), "a sequence that is not open");
  return *sequences_[id];
}

std::int32_t PageBook::take() {
  const std::int32_t page = free_.back();
  free_.pop_back();
  require(references_[static_cast<std::size_t>(page)]++ == 0, "a free page that is in use");
  return page;
}

void PageBook::give(std::int32_t page) {
  std::uint32_t& references = references_[static_cast<std::size_t>(page)];
  require(references > 0, "a page given back twice");
  if (--references == 0) free_.push_back(page);
}

PageBook::Id PageBook::open() {
  const auto place = std::find(sequences_.begin(), sequences_.end(), std::nullopt);
  const auto id = static_cast<Id>(place - sequences_.begin());
  if (place == sequences_.end()) sequences_.emplace_back(Sequence());
  else place->emplace();
  return id;
}

PageBook::Id PageBook::fork(Id from) {
  require(of(from).reserved == 0, "a fork while a step is under way");
  const Id id = open();
  Sequence& s = of(id);
  s.pages = of(from).pages;
  s.size = of(from).size;
  for (const std::int32_t page : s.pages) ++references_[static_cast<std::size_t>(page)];
  return id;
}

void PageBook::close(Id id) {
  drop(id);
  cut(of(id), 0);
  sequences_[id].reset();
}

/// Keeps the first `pages`.
void PageBook::cut(Sequence& s, std::size_t pages) {
  while (s.pages.size() > pages) {
    give(s.pages.back());
    s.pages.pop_back();
  }
}

Result<PageBook::Reserved> PageBook::reserve(Id id, std::size_t n) {
  Sequence& s = of(id);
  require(s.reserved == 0, "a second step before the first one's end");
  const std::size_t inside = s.size % page_;  // entries of the last page
  const bool shared = inside != 0 && references_[static_cast<std::size_t>(s.pages.back())] > 1;
  const std::size_t wanted = pages_for(s.size + n) - s.pages.size() + (shared ? 1 : 0);
  if (wanted > free_.size()) {
    return fail(Errc::out_of_memory, fmt::format("{} more positions want {} pages of {}, {} of {} are free", n, wanted,
                                                 page_, free_.size(), references_.size()));
  }
  Reserved r;
  if (n == 0) return r;
  r.copies.reserve(shared ? inside : 0);  // nothing below asks for memory
  r.slots.reserve(n);
  s.pages.reserve(pages_for(s.size + n));
  if (shared) {
    s.shared = s.pages.back();
    s.pages.back() = take();
    const auto size = static_cast<std::int32_t>(page_);
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(inside); ++i)
      r.copies.emplace_back(*s.shared * size + i, s.pages.back() * size + i);
  }
  while (s.pages.size() < pages_for(s.size + n)) s.pages.push_back(take());
  s.reserved = n;
  for (std::size_t i = 0; i < n; ++i) r.slots.push_back(slot(id, s.size + i));
  return r;
}

void PageBook::commit(Id id) {
  Sequence& s = of(id);
  if (s.shared) give(*s.shared);
  s.shared.reset();
  s.size += std::exchange(s.reserved, 0);
}

void PageBook::drop(Id id) {
  Sequence& s = of(id);
  cut(s, pages_for(s.size));
  if (s.shared) {
    give(s.pages.back());
    s.pages.back() = *s.shared;
    s.shared.reset();
  }
  s.reserved = 0;
}

void PageBook::truncate(Id id, std::size_t n) {
  Sequence& s = of(id);
  require(s.reserved == 0 && n <= s.size, "cut to more than there is, or while a step is under way");
  s.size = n;
  cut(s, pages_for(n));
}

}  // namespace halyard::engine
