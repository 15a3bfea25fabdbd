#include "halyard/engine/page_book.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

#include "halyard/ops/op_test.h"
#include "halyard/testing/models.h"

namespace halyard::engine {
namespace {

using halyard::testing::expect;
using ops::testing::Random;

/// Random histories against a plain model: each sequence is a list of numbers, each slot of the pool holds one. What a
/// sequence reads through its pages must be its list, whatever the others wrote.
void run_history(unsigned seed) {
  SCOPED_TRACE(::testing::Message() << "HALYARD_SEED=" << seed);
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return random() % n; };
  const std::size_t page = 1 + below(5), pages = 1 + below(24);
  PageBook book(pages, page);
  std::vector<int> memory(page * pages, -1);
  std::map<PageBook::Id, std::vector<int>> held;
  int next = 0;
  for (int step = 0; step < 200; ++step) {
    const auto some = [&] { return std::next(held.begin(), static_cast<std::ptrdiff_t>(below(held.size()))); };
    switch (held.empty() ? 0 : below(8)) {
      case 0: ASSERT_TRUE(held.emplace(book.open(), std::vector<int>()).second); break;
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
        const std::size_t n = below(s->second.size() + 1);
        book.truncate(s->first, n);
        s->second.resize(n);
        break;
      }
      default: {
        const auto s = some();
        const std::size_t n = below(3 * page + 1), before = book.pages_free();
        const auto r = book.reserve(s->first, n);
        if (!r) {
          ASSERT_EQ(r.error().code, Errc::out_of_memory);
          ASSERT_EQ(book.pages_free(), before);
          break;
        }
        ASSERT_EQ(r->slots.size(), n);
        for (const auto& [from, to] : r->copies)
          memory[static_cast<std::size_t>(to)] = memory[static_cast<std::size_t>(from)];
        std::vector<int> values;
        for (const std::int32_t slot : r->slots) values.push_back(memory[static_cast<std::size_t>(slot)] = next++);
        if (below(3) == 0) {
          book.drop(s->first);
          ASSERT_EQ(book.pages_free(), before);
        } else {
          book.commit(s->first);
          s->second.insert(s->second.end(), values.begin(), values.end());
        }
      }
    }
    std::map<std::int32_t, int> users;
    for (const auto& [id, values] : held) {
      ASSERT_EQ(book.size(id), values.size());
      ASSERT_EQ(book.pages(id).size(), (values.size() + page - 1) / page) << "no page more than the entries want";
      for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(memory[static_cast<std::size_t>(book.slot(id, i))], values[i]) << "entry " << i << " of " << id;
      for (const std::int32_t p : book.pages(id)) ++users[p];
    }
    ASSERT_EQ(users.size(), book.pages_used());
  }
  for (const auto& [id, values] : held) book.close(id);
  ASSERT_EQ(book.pages_used(), 0U);
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

}  // namespace
}  // namespace halyard::engine
