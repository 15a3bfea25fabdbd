#include "halyard/engine/batch.h"

#include <cstdlib>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "halyard/engine/sequence.h"
#include "halyard/hal/driver.h"
#include "halyard/ops/op_test.h"
#include "halyard/testing/fault_driver.h"
#include "halyard/testing/models.h"
#include "halyard/testing/patience.h"
#include "halyard/testing/small_model.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;
using ops::Precision;
using ops::testing::Random;

using Tokens = std::vector<std::int32_t>;

/// The logits after the last `rows` tokens of a text that is read alone.
Result<std::vector<float>> logits_alone(Sequence& alone, const Tokens& text, std::size_t rows) {
  std::vector<float> all;
  alone.reset();
  const Sequence::Sink keep = [&](std::size_t, std::span<float> logits) -> Result<void> {
    all.insert(all.end(), logits.begin(), logits.end());
    return {};
  };
  if (rows == 1) {
    const std::span<float> last = HALYARD_TRY(alone.read(text));
    all.assign(last.begin(), last.end());
  } else if (rows > 1) {
    HALYARD_TRY(alone.read_all(text, keep));
  }
  return std::vector<float>(all.end() - static_cast<std::ptrdiff_t>(rows * kSmallVocab), all.end());
}

/// Sequences that begin and end, fork, are cut and read on, take over what others have read, in steps of many, some of which
/// are made to fail: the logits of each are those of its text alone, byte for byte, and no page is lost.
void run_history(unsigned seed) {
  SCOPED_TRACE(::testing::Message() << "HALYARD_SEED=" << seed);
  std::mt19937 random(seed);
  const auto below = [&](std::size_t n) { return random() % n; };
  const Precision precision = below(2) ? Precision::fast : Precision::exact;
  const char* type = kSmallModels[below(std::size(kSmallModels))];
  FaultyDevice faulty =
      open_faulty(expect(open_cpu_driver({.cpu = {.threads = 2}})), {.cpu = {.threads = 2}}, seed, {});
  const models::Model model = small_model(faulty.device, type, precision);
  Sequence alone = expect(Sequence::make(model, {}));
  Batch batch = expect(
      Batch::make(model, {.positions = 64 * (2 + below(12)), .max_rows = 1 + below(100), .sequences = 1 + below(8)}));
  const std::size_t pages = batch.pages_free();
  std::map<Batch::Id, Tokens> texts;
  Tokens past{1};  // a text that was read once
  std::size_t adopted = 0;
  for (int step = 0; step < 40; ++step) {
    const auto some = [&] { return std::next(texts.begin(), static_cast<std::ptrdiff_t>(below(texts.size()))); };
    const std::size_t what = below(10);
    if (texts.empty() || what == 0) {
      texts.emplace(expect(batch.open()), Tokens());
    } else if (what == 1 && texts.size() < 8) {
      const auto from = some();
      texts.emplace(expect(batch.fork(from->first)), from->second);
    } else if (what == 2) {
      const auto gone = some();
      if (gone->second.size() > 64) past = gone->second;
      batch.close(gone->first);
      texts.erase(gone);
    } else if (what == 3) {
      const auto cut = some();
      const std::size_t most = below(cut->second.size() + 1), n = batch.truncate(cut->first, most);
      ASSERT_TRUE(n == most || (batch.has_slots() && n < most && n % batch.page() == 0));
      cut->second.resize(n);
    } else if (what == 4) {
      const auto goes_on = some();
      Tokens text = below(2) ? past : some()->second;
      text.resize(below(text.size() + 1));
      for (std::size_t i = below(3); i-- > 0;) text.push_back(static_cast<std::int32_t>(below(kSmallVocab)));
      if (text.size() <= goes_on->second.size() ||
          !std::ranges::equal(goes_on->second, std::span(text).first(goes_on->second.size())))
        continue;
      const std::size_t n = batch.adopt(goes_on->first, text);
      text.resize(goes_on->second.size() + n);
      ASSERT_EQ(batch.position(goes_on->first), text.size());
      goes_on->second = text;
      adopted += n;
    } else {
      std::vector<std::pair<Batch::Id, Tokens>> news;
      for (const auto& [id, text] : texts) {
        if (below(4) == 0) continue;
        Tokens tokens(what < 7 ? 1 : 1 + below(below(2) ? 4 : 70));
        for (auto& t : tokens)
          t = static_cast<std::int32_t>(below(40) ? below(3) : below(8) ? below(kSmallVocab - 1) : kPoison);
        news.emplace_back(id, std::move(tokens));
      }
      std::vector<Batch::Part> parts;
      for (const auto& [id, tokens] : news)
        parts.push_back({id, tokens, below(4) ? Batch::Want::last : below(2) ? Batch::Want::all : Batch::Want::none});
      const std::size_t free_before = batch.pages_free();
      faulty.driver->set_odds(below(4) ? FaultOdds{} : FaultOdds{.allocate = 200, .kernel = 20, .submission = 300});
      const auto logits = batch.step(parts);
      faulty.driver->set_odds({});
      if (!logits) {
        ASSERT_EQ(batch.pages_free(), free_before) << logits.error().str();
        for (const auto& [id, text] : texts) ASSERT_EQ(batch.position(id), text.size());
        continue;
      }
      for (std::size_t i = 0; i < news.size(); ++i) {
        Tokens text = texts[news[i].first];
        text.insert(text.end(), news[i].second.begin(), news[i].second.end());
        const std::size_t rows =
            parts[i].want == Batch::Want::all ? news[i].second.size() : parts[i].want == Batch::Want::last;
        const auto expected = logits_alone(alone, text, rows);
        const Batch::Logits& got = (*logits)[i];
        ASSERT_EQ(got.has_value(), expected.has_value()) << "sequence " << news[i].first;
        if (got) {
          ASSERT_EQ(got->size(), expected->size());
          ASSERT_TRUE(got->empty() || std::memcmp(expected->data(), got->data(), got->size_bytes()) == 0)
              << "sequence " << news[i].first << " of " << news.size() << " after " << text.size() << " tokens";
          texts[news[i].first] = text;
        }
        ASSERT_EQ(batch.position(news[i].first), texts[news[i].first].size());
      }
    }
  }
  for (const auto& [id, text] : texts) batch.close(id);
  ASSERT_EQ(batch.pages_free(), pages);
  ASSERT_EQ(batch.slots_used(), 0U);
  ::testing::Test::RecordProperty("adopted", static_cast<int>(adopted));
}

TEST(Batch, GivesEachSequenceTheBytesItHasAloneUnderRandomHistories) {
  const Random random;
  const char* wanted = std::getenv("HALYARD_HISTORIES");
  const unsigned count = wanted ? static_cast<unsigned>(std::atoi(wanted)) : halyard::testing::patience > 1 ? 5 : 40;
  for (unsigned i = 0; i < count && !::testing::Test::HasFatalFailure(); ++i) run_history(random.seed + i);
}

TEST(Batch, RefusesWhatItCannotRun) {
  const models::Model model =
      small_model(expect(Device::open("cpu", {.cpu = {.threads = 2}})), "qwen3", Precision::exact);
  Batch b = expect(Batch::make(model, {.positions = 512, .max_rows = 450}));
  const Batch::Id id = expect(b.open());
  const auto refusal = [&](std::vector<std::int32_t> tokens) {
    const Batch::Part part[] = {{id, tokens}};
    const auto r = b.step(part);
    return r ? "done" : r.error().str();
  };
  const auto expect_part = [](const std::string& got, std::string_view part) {
    EXPECT_NE(got.find(part), std::string::npos) << got;
  };
  expect_part(refusal({}), "no tokens");
  expect_part(refusal({1, 97}), "token id 97 is outside");
  expect_part(refusal({-1}), "token id -1");
  expect_part(refusal(std::vector<std::int32_t>(401)), "401 tokens long, the context 400");
  expect_part(refusal(std::vector<std::int32_t>(451)), "451 tokens long");
  EXPECT_EQ(refusal(std::vector<std::int32_t>(300)), "done");
  const Batch::Id other = expect(b.open());
  const std::vector<std::int32_t> many(300);
  const Batch::Part parts[] = {{other, many}};
  const auto r = b.step(parts);
  ASSERT_FALSE(r);
  expect_part(r.error().str(), "300 more positions want 5 pages of 64, 3 of 8 are free");
  const std::vector<std::int32_t> few(100);
  const Batch::Part twice[] = {{other, few}, {other, few}};
  expect_part(b.step(twice).error().str(), "two parts");
  const std::vector<std::int32_t> more(391);
  const Batch::Part wide[] = {{other, std::span(many).first(60)}, {expect(b.open()), more}};
  expect_part(b.step(wide).error().str(), "a step has 1 to 450 tokens, this one 451");
  EXPECT_FALSE(b.step({}));
  EXPECT_EQ(b.position(id), 300U);
  EXPECT_EQ(b.position(other), 0U);
  b.close(other);
  expect_part(b.step(parts).error().str(), "is not open");
}

}  // namespace
}  // namespace halyard::engine
