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
  require(is_open(id), "a sequence that is not open");
  return *sequences_[id];
}

PageBook::PageBook(std::size_t pages, std::size_t page, PageContents::Hash hash, std::size_t states)
    : page_(page), pages_(pages), states_(states), state_of_(states ? pages : 0, kNone), page_of_(states, kNone) {
  if (hash) contents_.emplace(pages, page, hash);
}

std::int32_t PageBook::take_page() {
  if (pages_.free() == 0) evict_page();
  return pages_.take();
}

void PageBook::evict_page() {
  const std::int32_t page = pages_.oldest_idle();
  forget(page);
  pages_.release(page);
}

/// Its content, and the state that stays with it.
void PageBook::forget(std::int32_t page) {
  contents_->forget(page);
  if (!has_states() || state_of(page) == kNone) return;
  const std::int32_t state = std::exchange(state_of(page), kNone);
  page_of(state) = kNone;
  if (states_.references(state) == 0) states_.release(state);
}

void PageBook::give_page(std::int32_t page) { pages_.give(page, is_known(page)); }

std::int32_t PageBook::take_state() {
  if (states_.free() == 0) {
    const std::int32_t oldest = states_.oldest_idle();
    state_of(std::exchange(page_of(oldest), kNone)) = kNone;
    states_.release(oldest);
  }
  return states_.take();
}

void PageBook::give_state(std::int32_t state) {
  if (state != kNone) states_.give(state, page_of(state) != kNone);
}

/// The state at a sequence's end stays with its last page, if that is known and has none.
void PageBook::keep_state(const Sequence& s) {
  if (s.state == kNone || s.size % page_ != 0 || !is_known(s.pages.back()) || state_of(s.pages.back()) != kNone) return;
  state_of(s.pages.back()) = s.state;
  page_of(s.state) = s.pages.back();
}

void PageBook::change_state(Sequence& s, std::int32_t to) {
  if (to != kNone) states_.hold(to);
  give_state(std::exchange(s.state, to));
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
  for (const std::int32_t page : s.pages) pages_.hold(page);
  if (s.state != kNone) states_.hold(s.state);
  of(id) = std::move(s);
  return id;
}

void PageBook::close(Id id) {
  drop(id);
  cut(of(id), 0);
  give_state(of(id).state);
  sequences_[id].reset();
}

/// Keeps the first `pages`.
void PageBook::cut(Sequence& s, std::size_t pages) {
  while (s.pages.size() > pages) {
    give_page(s.pages.back());
    s.pages.pop_back();
  }
}

std::size_t PageBook::adopt(Id id, std::span<const std::int32_t> text) {
  Sequence& s = of(id);
  require(s.reserved == 0, "pages adopted while a step is under way");
  if (!contents_ || s.size % page_ != 0 || s.text.size() != s.size || text.size() <= s.size) return 0;
  require(std::ranges::equal(s.text, text.first(s.size)), "a text that does not go on from what the sequence holds");
  const std::size_t before = s.size, held = s.pages.size();
  s.pages.reserve(pages_for(text.size()));
  s.text.reserve(text.size());
  std::size_t good = held;  // pages up to where the sequence may begin
  for (std::size_t end = before + page_; end <= text.size() - (has_states() ? 1 : 0); end += page_) {
    const std::int32_t last = s.pages.empty() ? kNone : s.pages.back();
    const std::int32_t page = contents_->find(last, text.subspan(end - page_, page_));
    if (page == kNone) break;
    pages_.hold(page);
    s.pages.push_back(page);
    if (!has_states() || state_of(page) != kNone) good = s.pages.size();
  }
  cut(s, good);
  if (good == held) return 0;
  s.size = good * page_;
  s.text.assign(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(s.size));
  if (has_states()) change_state(s, state_of(s.pages.back()));
  if (s.size == text.size()) truncate(id, s.size - 1);
  return s.size - before;
}

/// Whether the page that the next entry goes into is another's, too, or known by its content.
bool PageBook::must_copy(const Sequence& s) const {
  if (s.size % page_ == 0) return false;
  return pages_.references(s.pages.back()) > 1 || is_known(s.pages.back());
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
  if (copy && pages_.references(s.pages.back()) == 1 && wanted == pages_free() + 1) {
    // Nobody else holds it, and there is no page for a copy: it is forgotten instead, after those that follow it.
    while (pages_.idle() > 0) evict_page();
    forget(s.pages.back());
    copy = false;
    --wanted;
  }
  if (wanted > pages_free()) {
    return fail(Errc::out_of_memory, fmt::format("{} more positions want {} pages of {}, {} of {} are free", n, wanted,
                                                 page_, pages_free(), pages_.all()));
  }
  Reserved r;
  if (n == 0) return r;
  if (has_states() && states_.held() == states_.all())
    return fail(Errc::out_of_memory,
                fmt::format("a step wants a slot for what it leaves, all {} are held", states_.all()));
  const std::size_t inside = s.size % page_;  // entries of the last page
  r.copies.reserve(copy ? inside : 0);        // nothing below asks for memory
  r.slots.reserve(n);
  if (const std::size_t most = pages_for(s.size + n); most > s.pages.capacity()) s.pages.reserve(2 * most);
  if (copy) {
    s.shared = s.pages.back();
    s.pages.back() = take_page();
    const auto size = static_cast<std::int32_t>(page_);
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(inside); ++i)
      r.copies.emplace_back(*s.shared * size + i, s.pages.back() * size + i);
  }
  while (s.pages.size() < pages_for(s.size + n)) s.pages.push_back(take_page());
  s.reserved = n;
  if (has_states()) {
    r.state_from = s.state;
    r.state_to = s.next_state = take_state();
  }
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
  if (s.reserved == 0) return;
  if (s.shared) give_page(*s.shared);
  s.shared.reset();
  if (has_states()) give_state(std::exchange(s.state, std::exchange(s.next_state, kNone)));
  const std::size_t first = s.size / page_;
  s.size += std::exchange(s.reserved, 0);
  if (!contents_ || s.text.size() != s.size) return;
  for (std::size_t page = first; (page + 1) * page_ <= s.size; ++page) know(s, page);
  keep_state(s);
}

/// A page that has filled up is known from now on, or gives way to the one that holds the same.
void PageBook::know(Sequence& s, std::size_t at) {
  std::int32_t& page = s.pages[at];
  const std::int32_t before = at == 0 ? kNone : s.pages[at - 1];
  const auto tokens = std::span<const std::int32_t>(s.text).subspan(at * page_, page_);
  const std::int32_t known = contents_->find(before, tokens);
  if (known == page) return;
  if (known == kNone) return contents_->put(page, before, tokens);
  pages_.hold(known);
  give_page(page);
  page = known;
}

void PageBook::drop(Id id) {
  Sequence& s = of(id);
  cut(s, pages_for(s.size));
  if (s.shared) {
    give_page(s.pages.back());
    s.pages.back() = *s.shared;
    s.shared.reset();
  }
  give_state(std::exchange(s.next_state, kNone));
  s.reserved = 0;
  s.text.resize(std::min(s.text.size(), s.size));
}

std::size_t PageBook::truncate(Id id, std::size_t n) {
  Sequence& s = of(id);
  require(s.reserved == 0 && n <= s.size, "cut to more than there is, or while a step is under way");
  if (has_states() && n < s.size) {
    std::size_t pages = n / page_;
    while (pages > 0 && state_of(s.pages[pages - 1]) == kNone) --pages;
    change_state(s, pages == 0 ? kNone : state_of(s.pages[pages - 1]));
    n = pages * page_;
  }
  s.size = n;
  s.text.resize(std::min(s.text.size(), n));
  cut(s, pages_for(n));
  return n;
}

}  // namespace halyard::engine
