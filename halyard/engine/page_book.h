// Which pages of a pool are whose, and what they hold; and which slots of state. Host bookkeeping alone: no memory is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "halyard/base/result.h"
#include "halyard/engine/counted_pool.h"
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
///
/// With states, a sequence has one besides: what all its entries leave, in a slot that is written once. A step reads it and
/// writes another; forks share it. The state at the end of a known page stays with the page until its slot is wanted, and
/// sequences begin, or go back to, only where such a state is.
class PageBook {
 public:
  using Id = std::size_t;
  explicit PageBook(std::size_t pages, std::size_t page, PageContents::Hash = nullptr, std::size_t states = 0);

  /// An empty sequence.
  Id open();
  /// One that begins with the entries of another, which has nothing reserved.
  Id fork(Id);
  void close(Id);
  bool is_open(Id id) const { return id < sequences_.size() && sequences_[id].has_value(); }

  /// Goes on with what is known of a text that begins with the sequence's entries: whole pages, but not the text's last
  /// entry. Returns how many entries that are. With states, the last of these pages has one.
  std::size_t adopt(Id, std::span<const std::int32_t> text);

  /// Room for more entries.
  struct Reserved {
    std::vector<std::int32_t> slots;  ///< of the new entries, in order
    std::vector<std::pair<std::int32_t, std::int32_t>>
        copies;  ///< slots (from, to): to be copied before anything is written
    std::int32_t state_from = kNone,
                 state_to = kNone;  ///< the state to be read, kNone: of no entries; and to be written
  };
  static constexpr std::int32_t kNone = -1;  ///< no page, no state
  /// Room for n entries after those held. Errors: out_of_memory, naming what is wanted and free; the book is then as before.
  Result<Reserved> reserve(Id, std::size_t n);
  /// The same for entries that are these tokens.
  Result<Reserved> reserve(Id, std::span<const std::int32_t> tokens);
  /// The entries reserved are held.
  void commit(Id);
  /// Gives back what was reserved since the last commit, if anything was.
  void drop(Id);
  /// Keeps the first n entries, n ≤ size(). With states, as many of them as end where a state is. Returns how many.
  std::size_t truncate(Id, std::size_t n);

  std::size_t size(Id id) const { return of(id).size; }  ///< entries held
  /// Pages of the entries held and reserved.
  std::span<const std::int32_t> pages(Id id) const { return of(id).pages; }
  std::int32_t slot(Id id, std::size_t entry) const {
    return of(id).pages[entry / page_] * static_cast<std::int32_t>(page_) + static_cast<std::int32_t>(entry % page_);
  }
  std::size_t page() const { return page_; }
  std::size_t pages_all() const { return pages_.all(); }
  /// Pages that room for n more entries takes.
  std::size_t pages_wanted(Id, std::size_t n) const;
  std::size_t pages_free() const { return pages_.free() + pages_.idle(); }  ///< held by nobody, known or not
  std::size_t pages_used() const { return pages_.held(); }
  std::size_t pages_idle() const { return pages_.idle(); }  ///< held by nobody, and known
  /// Where the state of its entries lies; kNone: it has none, or no entries.
  std::int32_t state(Id id) const { return of(id).state; }
  std::size_t states_used() const { return states_.held(); }
  std::size_t states_idle() const { return states_.idle(); }  ///< held by a known page alone

 private:
  struct Sequence {
    std::vector<std::int32_t> pages;
    std::vector<std::int32_t> text;      // tokens of the entries, where all are known: of those held and reserved
    std::size_t size = 0, reserved = 0;  // entries
    std::optional<std::int32_t> shared;  // while reserved: the last page, which a copy stands in for
    std::int32_t state = kNone, next_state = kNone;  // of the entries held; while reserved: of all
  };
  std::size_t pages_for(std::size_t entries) const { return (entries + page_ - 1) / page_; }
  Sequence& of(Id);
  const Sequence& of(Id id) const { return const_cast<PageBook*>(this)->of(id); }
  bool is_known(std::int32_t page) const { return contents_ && contents_->knows(page); }
  bool must_copy(const Sequence&) const;
  bool has_states() const { return states_.all() > 0; }
  std::int32_t take_page();
  std::int32_t take_state();
  void give_page(std::int32_t page);
  void give_state(std::int32_t state);
  void forget(std::int32_t page);
  void evict_page();
  void cut(Sequence&, std::size_t pages);
  void know(Sequence&, std::size_t page);
  void keep_state(const Sequence&);
  void change_state(Sequence&, std::int32_t to);
  std::int32_t& state_of(std::int32_t page) { return state_of_[static_cast<std::size_t>(page)]; }
  std::int32_t& page_of(std::int32_t state) { return page_of_[static_cast<std::size_t>(state)]; }

  std::size_t page_;
  CountedPool pages_, states_;  // idle: known pages; states that stay with one
  std::optional<PageContents> contents_;
  std::vector<std::int32_t> state_of_, page_of_;  // of each page at whose end a state is, and the other way round
  std::vector<std::optional<Sequence>> sequences_;
};

}  // namespace halyard::engine
