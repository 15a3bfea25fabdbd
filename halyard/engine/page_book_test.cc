#include "halyard/engine/page_book.h"

#include <array>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "halyard/ops/op_test.h"
#include "halyard/testing/models.h"

namespace halyard::engine {
namespace {

using halyard::testing::expect;
using ops::testing::Random;

using Text = std::vector<std::int32_t>;

std::uint64_t collide(std::uint64_t, std::span<const std::int32_t>) { return 7; }

/// What a place in a text leaves in memory: it tells all tokens up to there.
std::uint64_t value_of(std::span<const std::int32_t> text) { return PageContents::mix(text.size(), text); }

/// Random histories against a plain model: each sequence is a list of tokens, each slot of the pool holds what a place in a
/// text leaves. What a sequence reads through its pages must be what its own text leaves, whoever wrote it and whatever the
/// others wrote; and what is known of a text must be found as long as no page was taken from what is known.
void run_history(unsigned seed) {
  SCOPED_TRACE(::testing::Message() << "HALYARD_SEED=" << seed);
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return random() % n; };
  const std::size_t page = 1 + below(5), pages = 1 + below(below(2) ? 24 : 200), letters = 1 + below(3);
  PageContents::Hash hash =
      std::array<PageContents::Hash, 4>{nullptr, collide, &PageContents::mix, &PageContents::mix}[below(4)];
  const std::size_t states = below(2) ? 0 : 1 + below(12);
  PageBook book(pages, page, hash, states);
  std::vector<std::uint64_t> memory(page * pages), state_memory(states);
  std::map<PageBook::Id, Text> held;
  std::set<Text> known;  // texts up to the ends of pages that filled up, since one was last evicted
  bool evicted = false;
  const auto more = [&](Text text, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) text.push_back(static_cast<std::int32_t>(below(letters)));
    return text;
  };
  for (int step = 0; step < 200; ++step) {
    const auto some = [&] { return std::next(held.begin(), static_cast<std::ptrdiff_t>(below(held.size()))); };
    switch (held.empty() ? 0 : below(10)) {
      case 0: ASSERT_TRUE(held.emplace(book.open(), Text()).second); break;
      case 1: {
        const auto from = some();
        ASSERT_TRUE(held.emplace(book.fork(from->first), from->second).second);
        break;
      }
      case 2: {
        const auto gone = some();
        book.close(gone->first);
        held.erase(gone);
        break;
      }
      case 3: {
        const auto s = some();
        const std::size_t most = below(s->second.size() + 1), before = s->second.size(),
                          n = book.truncate(s->first, most);
        ASSERT_TRUE(states && most < before ? n <= most && n % page == 0 : n == most);
        s->second.resize(n);
        break;
      }
      case 4: {
        const auto s = some();
        const Text text = more(s->second, below(6 * page));
        const std::size_t n = book.adopt(s->first, text), before = s->second.size();
        ASSERT_TRUE(n == 0 || before + n < text.size());
        if (hash && before % page == 0 && text.size() > before) {
          std::size_t most = before;
          while (most + page <= text.size() &&
                 known.contains(Text(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(most + page))))
            most += page;
          if (most == text.size()) --most;
          if (states) ASSERT_EQ(n % page, 0U);
          else
            ASSERT_TRUE(evicted ? before + n >= most : before + n == most)
                << n << " adopted after " << before << ", " << most;
        } else {
          ASSERT_EQ(n, 0U);
        }
        s->second.assign(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(before + n));
        break;
      }
      default: {
        const auto s = some();
        const std::size_t n = below(3 * page + 1), before = book.pages_free(), wanted = book.pages_wanted(s->first, n);
        const std::size_t unknown_free = before - book.pages_idle();
        const Text text = more(s->second, n);
        const auto r = book.reserve(s->first, std::span(text).subspan(s->second.size()));
        if (!r) {
          ASSERT_EQ(r.error().code, Errc::out_of_memory);
          ASSERT_TRUE(wanted > before || (states && book.states_used() == states));
          ASSERT_EQ(book.pages_free(), before);
          break;
        }
        if (states && n > 0) {
          ASSERT_EQ(r->state_from, book.state(s->first));
          ASSERT_NE(r->state_from, r->state_to);
          state_memory[static_cast<std::size_t>(r->state_to)] = value_of(text);
        }
        if (wanted > unknown_free) evicted = true, known.clear();
        ASSERT_EQ(r->slots.size(), n);
        for (const auto& [from, to] : r->copies)
          memory[static_cast<std::size_t>(to)] = memory[static_cast<std::size_t>(from)];
        for (std::size_t i = 0; i < n; ++i)
          memory[static_cast<std::size_t>(r->slots[i])] = value_of(std::span(text).first(s->second.size() + i + 1));
        if (below(3) == 0) {
          for (const std::int32_t slot : r->slots) memory[static_cast<std::size_t>(slot)] = 0;
          if (r->state_to >= 0) state_memory[static_cast<std::size_t>(r->state_to)] = 0;
          book.drop(s->first);
          ASSERT_EQ(book.pages_free(), before);
        } else {
          book.commit(s->first);
          for (std::size_t end = (s->second.size() / page + 1) * page; hash && end <= text.size(); end += page)
            known.insert(Text(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end)));
          s->second = text;
        }
      }
    }
    std::map<std::int32_t, int> users, state_users;
    std::map<Text, std::int32_t> page_of;
    for (const auto& [id, text] : held) {
      ASSERT_EQ(book.size(id), text.size());
      ASSERT_EQ(book.pages(id).size(), (text.size() + page - 1) / page) << "no page more than the entries want";
      for (std::size_t i = 0; i < text.size(); ++i)
        ASSERT_EQ(memory[static_cast<std::size_t>(book.slot(id, i))], value_of(std::span(text).first(i + 1)))
            << "entry " << i << " of " << id;
      for (const std::int32_t p : book.pages(id)) ++users[p];
      ASSERT_EQ(book.state(id) < 0, states == 0 || text.empty());
      if (book.state(id) >= 0) {
        ++state_users[book.state(id)];
        ASSERT_EQ(state_memory[static_cast<std::size_t>(book.state(id))], value_of(text)) << "the state of " << id;
      }
      for (std::size_t p = 0; hash && (p + 1) * page <= text.size(); ++p) {
        const auto [at, is_new] = page_of.emplace(
            Text(text.begin(), text.begin() + static_cast<std::ptrdiff_t>((p + 1) * page)), book.pages(id)[p]);
        ASSERT_EQ(at->second, book.pages(id)[p]) << "one page for each content";
      }
    }
    ASSERT_EQ(users.size(), book.pages_used());
    ASSERT_EQ(state_users.size(), book.states_used());
    ASSERT_LE(book.states_used() + book.states_idle(), states);
    ASSERT_EQ(book.pages_free() + book.pages_used(), pages);
  }
  for (const auto& [id, values] : held) book.close(id);
  ASSERT_EQ(book.pages_used(), 0U);
  ASSERT_TRUE(hash || book.pages_idle() == 0);
}

TEST(PageBook, KeepsEverySequencesEntriesUnderRandomHistories) {
  const Random random;
  for (unsigned i = 0; i < 500 && !::testing::Test::HasFatalFailure(); ++i) run_history(random.seed + i);
}

TEST(PageBook, SaysHowManyPagesAreWantedAndFree) {
  PageBook book(3, 64);
  const PageBook::Id a = book.open(), b = book.open();
  expect(book.reserve(a, 100));
  book.commit(a);
  const auto r = book.reserve(b, 65);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().str().find("65 more positions want 2 pages of 64, 1 of 3 are free") == std::string::npos, false)
      << r.error().str();
}

/// A book of pages of two, and texts of letters.
class KnownPages : public ::testing::Test {
 protected:
  static Text text(std::string_view letters) { return {letters.begin(), letters.end()}; }
  PageBook::Id read(std::string_view letters) {
    const PageBook::Id id = book_.open();
    const std::size_t known = book_.adopt(id, text(letters));
    const Text all = text(letters);
    expect(book_.reserve(id, std::span(all).subspan(known)));
    book_.commit(id);
    return id;
  }
  /// Tokens of a text that are known; the last one never is.
  std::size_t known(std::string_view letters) {
    const PageBook::Id id = book_.open();
    const std::size_t n = book_.adopt(id, text(letters));
    book_.close(id);
    return n;
  }
  PageBook book_{6, 2, &PageContents::mix};
};

TEST_F(KnownPages, AreFoundByAllTokensBeforeThem) {
  const PageBook::Id a = read("abcde");
  EXPECT_EQ(known("abcdx"), 4U);
  EXPECT_EQ(known("abxxcd"), 2U);
  EXPECT_EQ(known("cdab"), 0U) << "the same tokens elsewhere";
  EXPECT_EQ(known("abcd"), 3U) << "one is left to run";
  EXPECT_EQ(known("abc"), 2U);
  EXPECT_EQ(known("ab"), 1U);
  EXPECT_EQ(known("a"), 0U);
  EXPECT_EQ(known("abcdef"), 4U) << "e stands in a page that is not full";
  book_.close(a);
  EXPECT_EQ(known("abcdx"), 4U) << "nobody holds them";
  EXPECT_EQ(book_.pages_free(), 6U);
}

TEST_F(KnownPages, AreTakenLeastRecentlyHeldFirstAndFollowersBeforeThoseTheyFollow) {
  book_.close(read("abcd"));
  book_.close(read("xy"));
  book_.close(read("ab!"));  // ab was held again, cd and xy were not
  EXPECT_EQ(book_.pages_idle(), 3U);
  const PageBook::Id a = read("1234567");  // all that were not known, and one
  EXPECT_EQ(known("abcd"), 2U);
  EXPECT_EQ(known("xy"), 1U);
  const PageBook::Id b = read("89");
  EXPECT_EQ(known("ab"), 0U) << "asking for xy held it again";
  EXPECT_EQ(known("xy"), 1U);
  book_.close(a);
  book_.close(b);
}

TEST_F(KnownPages, AreNotWrittenIntoUnlessThereIsNoOtherPage) {
  const PageBook::Id a = read("abcd");
  book_.truncate(a, 3);
  const Text x = text("x");
  EXPECT_EQ(expect(book_.reserve(a, x)).copies.size(), 1U);
  book_.commit(a);
  EXPECT_EQ(known("abcd"), 3U);
  EXPECT_EQ(known("abcx"), 3U);
  book_.truncate(a, 3);
  const PageBook::Id b = read("12345678");
  EXPECT_EQ(book_.pages_free(), 0U);
  EXPECT_EQ(known("abcd"), 2U);
  EXPECT_TRUE(expect(book_.reserve(a, text("y"))).copies.empty());
  book_.commit(a);
  EXPECT_EQ(known("abcx"), 2U);
  EXPECT_EQ(known("abcy"), 3U);
  book_.close(a);
  book_.close(b);
}

TEST_F(KnownPages, OfOneContentAreOne) {
  const PageBook::Id a = book_.open(), b = book_.open();
  const Text t = text("abc");
  expect(book_.reserve(a, t));
  expect(book_.reserve(b, t));
  EXPECT_EQ(book_.pages_used(), 4U);
  book_.commit(a);
  book_.commit(b);
  EXPECT_EQ(book_.pages_used(), 3U);
  EXPECT_EQ(book_.pages(a)[0], book_.pages(b)[0]);
}

/// A book of pages of two with four states.
class KnownStates : public KnownPages {
 protected:
  KnownStates() { book_ = PageBook(20, 2, &PageContents::mix, 4); }
  /// Reads what is not known in steps of so many.
  PageBook::Id read(std::string_view letters, std::size_t at_once) {
    const PageBook::Id id = book_.open();
    const Text all = text(letters);
    for (std::size_t at = book_.adopt(id, all); at < all.size(); at = book_.size(id)) {
      expect(book_.reserve(id, std::span(all).subspan(at, std::min(at_once, all.size() - at))));
      book_.commit(id);
    }
    return id;
  }
};

TEST_F(KnownStates, StayWhereAStepEndedAtAPagesEnd) {
  book_.close(read("abcdefg", 4));
  EXPECT_EQ(book_.states_used(), 0U);
  EXPECT_EQ(book_.states_idle(), 1U) << "of abcd; that of abcdefg ends in a page";
  EXPECT_EQ(known("abcdefghi"), 4U) << "ef is known, but no state is there";
  EXPECT_EQ(known("abcdx"), 4U);
  EXPECT_EQ(known("abcd"), 0U) << "one is left to run, and no state is before it";
}

TEST_F(KnownStates, AreTakenLeastRecentlyHeldFirst) {
  book_.close(read("ab", 2));
  book_.close(read("cd", 2));
  book_.close(read("ef", 2));
  EXPECT_EQ(known("abx"), 2U);   // held again
  book_.close(read("ghij", 2));  // two more
  EXPECT_EQ(known("cdx"), 0U);
  EXPECT_EQ(known("efx"), 2U);
  EXPECT_EQ(known("abx"), 2U);
  EXPECT_EQ(known("ghijx"), 4U);
  EXPECT_EQ(book_.states_idle(), 4U);
}

TEST_F(KnownStates, AreSharedByForksAndOutliveThem) {
  const PageBook::Id a = read("abc", 3), b = book_.fork(a);
  EXPECT_EQ(book_.state(a), book_.state(b));
  const auto r = expect(book_.reserve(b, text("d")));
  EXPECT_EQ(r.state_from, book_.state(a));
  EXPECT_NE(r.state_to, r.state_from);
  book_.commit(b);
  EXPECT_EQ(book_.state(a), r.state_from);
  EXPECT_EQ(book_.state(b), r.state_to);
  book_.close(a);
  EXPECT_EQ(book_.states_used(), 1U);
  book_.close(b);
  EXPECT_EQ(book_.states_used(), 0U);
}

TEST_F(KnownStates, AreWhereATextCanBeCut) {
  const PageBook::Id a = read("abcdefgh", 4);
  EXPECT_EQ(book_.truncate(a, 8), 8U);
  EXPECT_EQ(book_.truncate(a, 7), 4U);
  EXPECT_EQ(book_.size(a), 4U);
  EXPECT_EQ(book_.truncate(a, 3), 0U);
  EXPECT_EQ(book_.state(a), PageBook::kNone);
  EXPECT_EQ(known("abcdefghx"), 8U);
  book_.close(a);
}

TEST_F(KnownStates, GoWithTheirPages) {
  book_ = PageBook(3, 2, &PageContents::mix, 4);
  book_.close(read("abcd", 2));
  EXPECT_EQ(book_.states_idle(), 2U);
  const PageBook::Id a = read("12345", 1);  // all pages
  EXPECT_EQ(book_.states_idle(), 2U) << "of 12 and 1234";
  book_.close(a);
  EXPECT_EQ(book_.states_used(), 0U);
}

TEST_F(KnownStates, AreRefusedWhereAllAreHeld) {
  std::vector<PageBook::Id> ids;
  for (const char* t : {"a", "b", "c", "d"}) ids.push_back(read(t, 1));
  const PageBook::Id last = book_.open();
  const std::size_t pages = book_.pages_free();
  const auto r = book_.reserve(last, text("e"));
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().str().find("all 4 are held"), std::string::npos) << r.error().str();
  EXPECT_EQ(book_.pages_free(), pages);
  EXPECT_EQ(book_.size(last), 0U);
  book_.close(ids.back());
  EXPECT_TRUE(book_.reserve(last, text("e")));
  book_.drop(last);
  EXPECT_EQ(book_.states_used(), 3U);
}

}  // namespace
}  // namespace halyard::engine
