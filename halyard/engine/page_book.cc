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

PageBook::PageBook(std::size_t pages, std::size_t page, PageContents::Hash hash) : page_(page), references_(pages) {
  for (std::size_t p = pages; p-- > 0;) free_.push_back(static_cast<std::int32_t>(p));
  if (!hash) return;
  contents_.emplace(pages, page, hash);
  const auto end = static_cast<std::int32_t>(pages);
  idle_.links.assign(pages + 1, {end, end});
}

void PageBook::Idle::add(std::int32_t page) {
  at(page) = {at(end()).older, end()};
  at(at(end()).older).newer = page;
  at(end()).older = page;
  ++size;
}

void PageBook::Idle::remove(std::int32_t page) {
  at(at(page).older).newer = at(page).newer;
  at(at(page).newer).older = at(page).older;
  --size;
}

std::int32_t PageBook::take() {
  if (free_.empty()) evict();
  const std::int32_t page = free_.back();
  free_.pop_back();
  require(references(page)++ == 0, "a free page that is in use");
  return page;
}

void PageBook::evict() {
  require(idle_.size > 0, "a page more than there are");
  const std::int32_t page = idle_.oldest();
  idle_.remove(page);
  contents_->forget(page);
  free_.push_back(page);
}

void PageBook::hold(std::int32_t page) {
  if (references(page)++ == 0) idle_.remove(page);
}

void PageBook::give(std::int32_t page) {
  require(references(page) > 0, "a page given back twice");
  if (--references(page) > 0) return;
  if (is_known(page)) idle_.add(page);
  else free_.push_back(page);
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
  Sequence s = of(from);
  const Id id = open();
  for (const std::int32_t page : s.pages) hold(page);
  of(id) = std::move(s);
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

std::size_t PageBook::adopt(Id id, std::span<const std::int32_t> text) {
  Sequence& s = of(id);
  require(s.reserved == 0, "pages adopted while a step is under way");
  if (!contents_ || s.size % page_ != 0 || s.text.size() != s.size || text.size() <= s.size) return 0;
  require(std::ranges::equal(s.text, text.first(s.size)), "a text that does not go on from what the sequence holds");
  const std::size_t before = s.size;
  s.pages.reserve(pages_for(text.size()));
  s.text.reserve(text.size());
  while (s.size + page_ <= text.size()) {
    const auto tokens = text.subspan(s.size, page_);
    const std::int32_t page = contents_->find(s.pages.empty() ? PageContents::kNone : s.pages.back(), tokens);
    if (page == PageContents::kNone) break;
    hold(page);
    s.pages.push_back(page);
    s.text.insert(s.text.end(), tokens.begin(), tokens.end());
    s.size += page_;
  }
  if (s.size == text.size()) truncate(id, s.size - 1);
  return s.size - before;
}

/// Whether the page that the next entry goes into is another's, too, or known by its content.
bool PageBook::must_copy(const Sequence& s) const {
  if (s.size % page_ == 0) return false;
  return references_[static_cast<std::size_t>(s.pages.back())] > 1 || is_known(s.pages.back());
}

std::size_t PageBook::pages_wanted(Id id, std::size_t n) const {
  const Sequence& s = of(id);
  return n == 0 ? 0 : pages_for(s.size + n) - s.pages.size() + (must_copy(s) ? 1 : 0);
}

Result<PageBook::Reserved> PageBook::reserve(Id id, std::size_t n) {
  Sequence& s = of(id);
  require(s.reserved == 0, "a second step before the first one's end");
  bool copy = must_copy(s);
  std::size_t wanted = pages_wanted(id, n);
  if (copy && references(s.pages.back()) == 1 && wanted == pages_free() + 1) {
    // Nobody else holds it, and there is no page for a copy: it is forgotten instead, after those that follow it.
    while (idle_.size > 0) evict();
    contents_->forget(s.pages.back());
    copy = false;
    --wanted;
  }
  if (wanted > pages_free()) {
    return fail(Errc::out_of_memory, fmt::format("{} more positions want {} pages of {}, {} of {} are free", n, wanted,
                                                 page_, pages_free(), references_.size()));
  }
  Reserved r;
  if (n == 0) return r;
  const std::size_t inside = s.size % page_;  // entries of the last page
  r.copies.reserve(copy ? inside : 0);        // nothing below asks for memory
  r.slots.reserve(n);
  if (const std::size_t most = pages_for(s.size + n); most > s.pages.capacity()) s.pages.reserve(2 * most);
  if (copy) {
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

Result<PageBook::Reserved> PageBook::reserve(Id id, std::span<const std::int32_t> tokens) {
  Sequence& s = of(id);
  const bool told = contents_ && s.text.size() == s.size;
  if (told) s.text.insert(s.text.end(), tokens.begin(), tokens.end());
  auto r = reserve(id, tokens.size());
  if (told && !r) s.text.resize(s.size);
  return r;
}

void PageBook::commit(Id id) {
  Sequence& s = of(id);
  if (s.shared) give(*s.shared);
  s.shared.reset();
  const std::size_t first = s.size / page_;
  s.size += std::exchange(s.reserved, 0);
  if (!contents_ || s.text.size() != s.size) return;
  for (std::size_t page = first; (page + 1) * page_ <= s.size; ++page) know(s, page);
}

/// A page that has filled up is known from now on, or gives way to the one that holds the same.
void PageBook::know(Sequence& s, std::size_t at) {
  std::int32_t& page = s.pages[at];
  const std::int32_t before = at == 0 ? PageContents::kNone : s.pages[at - 1];
  const auto tokens = std::span<const std::int32_t>(s.text).subspan(at * page_, page_);
  const std::int32_t known = contents_->find(before, tokens);
  if (known == page) return;
  if (known == PageContents::kNone) return contents_->put(page, before, tokens);
  hold(known);
  give(page);
  page = known;
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
  s.text.resize(std::min(s.text.size(), s.size));
}

void PageBook::truncate(Id id, std::size_t n) {
  Sequence& s = of(id);
  require(s.reserved == 0 && n <= s.size, "cut to more than there is, or while a step is under way");
  s.size = n;
  s.text.resize(std::min(s.text.size(), n));
  cut(s, pages_for(n));
}

}  // namespace halyard::engine
