// Which pages of a pool are whose. Host bookkeeping alone: no memory is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "halyard/base/result.h"

namespace halyard::engine {

/// Sequences of entries that lie in pages of `page` entries. An entry's slot is page number · page + place in the page.
/// Pages are counted: forks share them, and who writes behind a shared entry gets a copy of its page first. A step goes
/// reserve, run, commit; what is dropped instead leaves the sequence as it was.
class PageBook {
 public:
  using Id = std::size_t;
  PageBook(std::size_t pages, std::size_t page) : page_(page), references_(pages) {
    for (std::size_t p = pages; p-- > 0;) free_.push_back(static_cast<std::int32_t>(p));
  }

  /// An empty sequence.
  Id open();
  /// One that begins with the entries of another, which has nothing reserved.
  Id fork(Id);
  void close(Id);

  /// Room for more entries.
  struct Reserved {
    std::vector<std::int32_t> slots;                            ///< of the new entries, in order
    std::vector<std::pair<std::int32_t, std::int32_t>> copies;  ///< slots (from, to): to be copied before anything is written
  };
  /// Room for n entries after those held. Errors: out_of_memory, naming pages wanted and free; the book is then as before.
  Result<Reserved> reserve(Id, std::size_t n);
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
  std::size_t pages_free() const { return free_.size(); }
  std::size_t pages_used() const { return references_.size() - free_.size(); }

 private:
  struct Sequence {
    std::vector<std::int32_t> pages;
    std::size_t size = 0, reserved = 0;  // entries
    std::optional<std::int32_t> shared;  // while reserved: the last page, which a copy stands in for
  };
  std::size_t pages_for(std::size_t entries) const { return (entries + page_ - 1) / page_; }
  Sequence& of(Id);
  const Sequence& of(Id id) const { return const_cast<PageBook*>(this)->of(id); }
  std::int32_t take();
  void give(std::int32_t page);
  void cut(Sequence&, std::size_t pages);

  std::size_t page_;
  std::vector<std::uint32_t> references_;  // of each page
  std::vector<std::int32_t> free_;         // the next one to be taken is the last
  std::vector<std::optional<Sequence>> sequences_;
};

}  // namespace halyard::engine
