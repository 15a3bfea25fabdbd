// Which pages hold which tokens: so that a text that begins as an earlier one did can have its pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace halyard::engine {

/// Full pages, each known by its tokens and by the page before it, which is known as well: so by all tokens up to its end.
/// A hash finds a page; what it holds is always compared. Nothing is allocated after it was made.
class PageContents {
 public:
  static constexpr std::int32_t kNone = -1;  ///< no page
  /// Of the tokens of a page, and of the hash of all before them.
  using Hash = std::uint64_t (*)(std::uint64_t before, std::span<const std::int32_t> tokens);
  static std::uint64_t mix(std::uint64_t before, std::span<const std::int32_t> tokens);

  PageContents(std::size_t pages, std::size_t page, Hash);

  bool knows(std::int32_t page) const { return at(page).known; }
  /// Whether pages are known that follow it.
  bool is_followed(std::int32_t page) const { return at(page).followers > 0; }
  /// The page with these tokens after page `before`, or after nothing; kNone where none is known.
  std::int32_t find(std::int32_t before, std::span<const std::int32_t> tokens) const;
  /// Learns what a page holds, which no other known page does.
  void put(std::int32_t page, std::int32_t before, std::span<const std::int32_t> tokens);
  /// Forgets a page that no known one follows.
  void forget(std::int32_t page);

 private:
  struct Page {
    std::uint64_t hash = 0;                     // of all tokens up to its end
    std::int32_t before = kNone, next = kNone;  // next: of the same bucket
    std::uint32_t followers = 0;
    bool known = false;
  };
  Page& at(std::int32_t page) { return pages_[static_cast<std::size_t>(page)]; }
  const Page& at(std::int32_t page) const { return pages_[static_cast<std::size_t>(page)]; }
  std::uint64_t hash_after(std::int32_t before, std::span<const std::int32_t> tokens) const;
  std::int32_t& bucket(std::uint64_t hash) { return buckets_[hash % buckets_.size()]; }
  std::span<const std::int32_t> tokens(std::int32_t page) const {
    return std::span(tokens_).subspan(static_cast<std::size_t>(page) * page_, page_);
  }

  std::size_t page_;
  Hash hash_;
  std::vector<Page> pages_;
  std::vector<std::int32_t> tokens_;   // [pages, page]
  std::vector<std::int32_t> buckets_;  // the first page of each
};

}  // namespace halyard::engine
