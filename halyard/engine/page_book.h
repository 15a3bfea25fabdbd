// Which pages of a pool are whose, and what they hold. Host bookkeeping alone: no memory is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "halyard/base/result.h"
#include "halyard/engine/page_contents.h"

namespace halyard::engine {

/// Sequences of entries that lie in pages of `page` entries. An entry's slot is page number · page + place in the page.
/// Pages are counted: forks share them, and who writes behind a shared entry gets a copy of its page first. A step goes
/// reserve, run, commit; what is dropped instead leaves the sequence as it was.
///
/// With a hash, a page that has filled up with tokens the book was told is known by its content, and a sequence that begins
/// the same may adopt it. Each content has one page: who fills another with the same lets go of it. Nobody writes into a
/// known page. One that nobody holds any more stays known until its memory is wanted: the least recently held goes first,
/// and no page before those that follow it, since a sequence holds a page no longer than those before it.
class PageBook {
 public:
  using Id = std::size_t;
  PageBook(std::size_t pages, std::size_t page, PageContents::Hash = nullptr);

  /// An empty sequence.
  Id open();
  /// One that begins with the entries of another, which has nothing reserved.
  Id fork(Id);
  void close(Id);

  /// Goes on with what is known of a text that begins with the sequence's entries: whole pages, but not the text's last
  /// entry. Returns how many entries that are.
  std::size_t adopt(Id, std::span<const std::int32_t> text);

  /// Room for more entries.
  struct Reserved {
    std::vector<std::int32_t> slots;                            ///< of the new entries, in order
    std::vector<std::pair<std::int32_t, std::int32_t>> copies;  ///< slots (from, to): to be copied before anything is written
  };
  /// Room for n entries after those held. Errors: out_of_memory, naming pages wanted and free; the book is then as before.
  Result<Reserved> reserve(Id, std::size_t n);
  /// The same for entries that are these tokens.
  Result<Reserved> reserve(Id, std::span<const std::int32_t> tokens);
  /// The entries reserved are held.
  void commit(Id);
  /// Gives back what was reserved since the last commit, if anything was.
  void drop(Id);
  /// Keeps the first n entries, n ≤ size().
  void truncate(Id, std::size_t n);

  std::size_t size(Id id) const { return of(id).size; }  ///< entries held
  /// Pages of the entries held and reserved.
  std::span<const std::int32_t> pages(Id id) const { return of(id).pages; }
  std::int32_t slot(Id id, std::size_t entry) const {
    return of(id).pages[entry / page_] * static_cast<std::int32_t>(page_) + static_cast<std::int32_t>(entry % page_);
  }
  std::size_t page() const { return page_; }
  std::size_t pages_all() const { return references_.size(); }
  /// Pages that room for n more entries takes.
  std::size_t pages_wanted(Id, std::size_t n) const;
  std::size_t pages_free() const { return free_.size() + idle_.size; }  ///< held by nobody, known or not
  std::size_t pages_used() const { return references_.size() - pages_free(); }
  std::size_t pages_idle() const { return idle_.size; }  ///< held by nobody, and known

 private:
  struct Sequence {
    std::vector<std::int32_t> pages;
    std::vector<std::int32_t> text;      // tokens of the entries, where all are known: of those held and reserved
    std::size_t size = 0, reserved = 0;  // entries
    std::optional<std::int32_t> shared;  // while reserved: the last page, which a copy stands in for
  };
  // Pages in the order in which they were let go, as links of pages: nothing is allocated.
  struct Idle {
    struct Link {
      std::int32_t older, newer;
    };
    std::vector<Link> links;  // one a page, and last one that ties the ends together
    std::size_t size = 0;
    Link& at(std::int32_t page) { return links[static_cast<std::size_t>(page)]; }
    std::int32_t end() const { return static_cast<std::int32_t>(links.size()) - 1; }
    std::int32_t oldest() const { return links.back().newer; }
    void add(std::int32_t page);
    void remove(std::int32_t page);
  };
  std::size_t pages_for(std::size_t entries) const { return (entries + page_ - 1) / page_; }
  Sequence& of(Id);
  const Sequence& of(Id id) const { return const_cast<PageBook*>(this)->of(id); }
  std::uint32_t& references(std::int32_t page) { return references_[static_cast<std::size_t>(page)]; }
  bool is_known(std::int32_t page) const { return contents_ && contents_->knows(page); }
  bool must_copy(const Sequence&) const;
  std::int32_t take();
  void hold(std::int32_t page);
  void give(std::int32_t page);
  void evict();
  void cut(Sequence&, std::size_t pages);
  void know(Sequence&, std::size_t page);

  std::size_t page_;
  std::vector<std::uint32_t> references_;  // of each page
  std::vector<std::int32_t> free_;         // neither held nor known; the next one to be taken is the last
  Idle idle_;
  std::optional<PageContents> contents_;
  std::vector<std::optional<Sequence>> sequences_;
};

}  // namespace halyard::engine
