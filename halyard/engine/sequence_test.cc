#include "halyard/engine/sequence.h"

#include <gtest/gtest.h>

#include "halyard/engine/generator.h"
#include "halyard/engine/perplexity.h"
#include "halyard/hal/driver.h"
#include "halyard/io/config.h"
#include "halyard/models/synthetic.h"
#include "halyard/ops/op_test.h"
#include "halyard/testing/fault_driver.h"
#include "halyard/testing/models.h"
#include "halyard/testing/patience.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;
using ops::Precision;
using ops::testing::Random;

/// A tiny qwen3 with random weights and a context of 96.
models::Model tiny_model(Precision precision = Precision::exact, std::size_t context = 96,
                         Device device = expect(Device::open("cpu", {.cpu = {.threads = 2}}))) {
  const Json config = Json::object({{"model_type", "qwen3"},
                                    {"hidden_size", 64},
                                    {"num_hidden_layers", 6},
                                    {"num_attention_heads", 4},
                                    {"num_key_value_heads", 2},
                                    {"head_dim", 16},
                                    {"intermediate_size", 128},
                                    {"vocab_size", 97},
                                    {"tie_word_embeddings", true},
                                    {"max_position_embeddings", context}});
  models::SyntheticWeights weights(expect(models::synthetic_format("q4")));
  return expect(models::Model::load(std::move(device), ConfigView(config, "config"), weights, precision));
}

std::vector<std::int32_t> tokens(std::size_t n) {
  std::vector<std::int32_t> ids(n);
  for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<std::int32_t>(i * i * 31 % 97);
  return ids;
}

std::vector<float> last_logits(Sequence& s, const std::vector<std::int32_t>& ids) {
  const std::span<float> logits = expect(s.read(ids));
  return {logits.begin(), logits.end()};
}

std::string failure(const Result<std::span<float>>& r) { return r ? "succeeded" : r.error().str(); }

TEST(Sequence, ReadGivesTheLastRowOfReadAll) {
  const models::Model model = tiny_model();
  const auto ids = tokens(50);
  const std::vector<float> all = logits_of(model, ids, 16);
  Sequence s = expect(Sequence::make(model, {.prefill_step = 16}));
  EXPECT_EQ(last_logits(s, ids), std::vector(all.end() - 97, all.end()));
}

TEST(Sequence, ATextLongerThanTheContextIsRefusedNamingBothLengths) {
  Sequence s = expect(Sequence::make(tiny_model(), {}));
  expect(s.read(tokens(90)));
  const std::string message = failure(s.read(tokens(7)));
  EXPECT_NE(message.find("97"), std::string::npos) << message;
  EXPECT_NE(message.find("96"), std::string::npos) << message;
  EXPECT_EQ(failure(s.read(tokens(6))), "succeeded") << "the refusal changed nothing";
}

TEST(Sequence, RefusesTokensOutsideTheEmbeddingAndEmptyText) {
  Sequence s = expect(Sequence::make(tiny_model(), {}));
  EXPECT_NE(failure(s.read(std::vector<std::int32_t>{1, 97})).find("97"), std::string::npos);
  EXPECT_NE(failure(s.read(std::vector<std::int32_t>{-1})).find("-1"), std::string::npos);
  EXPECT_NE(failure(s.read({})).find("empty"), std::string::npos);
  EXPECT_EQ(s.position(), 0U);
}

TEST(Sequence, TruncatingAndReadingAgainEqualsReadingAnew) {
  const models::Model model = tiny_model();
  const auto ids = tokens(40);
  Sequence anew = expect(Sequence::make(model, {}));
  const std::vector<float> expected = last_logits(anew, ids);
  Sequence s = expect(Sequence::make(model, {}));
  expect(s.read(tokens(40)));
  expect(s.read(std::vector<std::int32_t>{5, 6, 7}));
  ASSERT_TRUE(s.truncate(30));
  EXPECT_EQ(last_logits(s, {ids.begin() + 30, ids.end()}), expected);
  s.reset();
  EXPECT_EQ(last_logits(s, ids), expected);
}

TEST(Sequence, ARotatingCacheReadsOnPastTheContextAndEqualsAWholeOneBefore) {
  const models::Model model = tiny_model();
  Sequence whole = expect(Sequence::make(model, {}));
  Sequence rotating = expect(Sequence::make(model, {.max_kv_size = 64}));
  const auto ids = tokens(60);
  EXPECT_EQ(last_logits(rotating, ids), last_logits(whole, ids));
  for (const std::int32_t id : tokens(300)) expect(rotating.read(std::span(&id, 1)));
  EXPECT_EQ(rotating.position(), 360U);
  EXPECT_LE(rotating.cache().size(), 64U);
  Sequence tiny = expect(Sequence::make(model, {.max_kv_size = 1}));
  expect(tiny.read(ids));
  EXPECT_EQ(tiny.cache().size(), 1U);
}

TEST(Sequence, StepsFusedOrNotGiveTheSameBytesWhateverTheCacheDoes) {
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const models::Model model = tiny_model(precision, 700);  // the cache grows twice
    for (const std::size_t max_kv_size : {std::size_t{0}, std::size_t{64}}) {
      for (const bool use_session : {true, false}) {
        if (halyard::testing::patience > 1 && use_session == (max_kv_size == 0))
          continue;  // half of them where all is slow
        Sequence plain =
            expect(Sequence::make(model, {.max_kv_size = max_kv_size, .use_session = use_session, .fused = false}));
        Sequence fused = expect(Sequence::make(model, {.max_kv_size = max_kv_size, .use_session = use_session}));
        const auto step = [&](const std::vector<std::int32_t>& ids) {
          const std::vector<float> expected = last_logits(plain, ids);
          ASSERT_EQ(last_logits(fused, ids), expected) << "position " << plain.position();
        };
        step(tokens(20));
        for (const std::int32_t id : tokens(560)) step({id});
        if (max_kv_size == 0) { ASSERT_TRUE(plain.truncate(30) && fused.truncate(30)); }
        step(tokens(17));
        step({3});
        plain.reset();
        fused.reset();
        step({5});
        step({6});
      }
    }
  }
}

TEST(Sequence, AFailedReadLeavesTheTextAsItWas) {
  const auto ids = tokens(600);
  const auto part = [&](std::size_t begin, std::size_t end) {
    return std::vector<std::int32_t>(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                     ids.begin() + static_cast<std::ptrdiff_t>(end));
  };
  Random random;
  for (const std::size_t max_kv_size : {std::size_t{0}, std::size_t{64}}) {
    FaultyDevice faulty =
        open_faulty(expect(open_cpu_driver({.cpu = {.threads = 2}})), {.cpu = {.threads = 2}}, random.seed, {});
    const models::Model model = tiny_model(Precision::fast, 700, faulty.device);
    const SequenceOptions options{.max_kv_size = max_kv_size, .prefill_step = 100};
    Sequence calm = expect(Sequence::make(model, options)), s = expect(Sequence::make(model, options));
    std::size_t failures = 0;
    std::vector<std::size_t> steps;  // where reads ended: with a full window the logits depend on it
    for (std::size_t at = 0; at < 590;) {
      const std::size_t n =
          at == 256 ? 1 : std::min<std::size_t>(1 + random.below(at < 250 ? 250 : 20), at < 256 ? 256 - at : 600 - at);
      const std::vector<float> expected = last_logits(calm, part(at, at + n));
      faulty.driver->set_odds({.allocate = 50, .kernel = 10, .submission = 200});
      auto read = s.read(part(at, at + n));
      while (!read) {
        ++failures;
        if (max_kv_size == 0) {
          ASSERT_EQ(s.position(), at) << read.error().str();
        } else if (s.position() != at || read.error().code == Errc::invalid_state) {
          s.reset();
          faulty.driver->set_odds({});
          for (std::size_t i = 0; i < steps.size(); ++i) expect(s.read(part(i ? steps[i - 1] : 0, steps[i])));
          faulty.driver->set_odds({.allocate = 50, .kernel = 10, .submission = 200});
        }
        read = s.read(part(at, at + n));
      }
      faulty.driver->set_odds({});
      ASSERT_EQ(std::vector<float>(read->begin(), read->end()), expected)
          << "position " << at << ", " << n << " tokens";
      at += n;
      steps.push_back(at);
    }
    EXPECT_GT(failures, 0U);
  }
}

TEST(Sequence, ARefusedReadCostsAFullWindowNothing) {
  const models::Model model = tiny_model();
  Sequence s = expect(Sequence::make(model, {.max_kv_size = 64})),
           calm = expect(Sequence::make(model, {.max_kv_size = 64}));
  for (Sequence* x : {&s, &calm}) {
    expect(x->read(tokens(200)));
    expect(x->read(tokens(1)));
  }
  EXPECT_FALSE(s.read({}));
  EXPECT_FALSE(s.read(std::vector<std::int32_t>{97}));
  EXPECT_EQ(last_logits(s, {5}), last_logits(calm, {5}));
}

TEST(Sequence, TheLastRowAloneIsTheLastOfAllRows) {
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const models::Model model = tiny_model(precision);
    for (const std::size_t n : {1U, 2U, 17U, 33U, 64U}) {
      Sequence all = expect(Sequence::make(model, {})), last = expect(Sequence::make(model, {}));
      std::vector<float> row;
      expect(all.read_all(tokens(n), [&](std::size_t, std::span<float> logits) -> Result<void> {
        row.assign(logits.end() - 97, logits.end());
        return {};
      }));
      EXPECT_EQ(last_logits(last, tokens(n)), row) << n << " tokens";
      EXPECT_EQ(last_logits(last, {5}), last_logits(all, {5})) << "what both keep of them is the same";
    }
  }
}

TEST(Sequence, ProgressMayStopALongRead) {
  Sequence s = expect(Sequence::make(tiny_model(), {.prefill_step = 8}));
  std::vector<std::size_t> seen;
  const auto r = s.read(tokens(40), [&](std::size_t done, std::size_t total) -> Result<void> {
    seen.push_back(done);
    EXPECT_EQ(total, 40U);
    if (done == 24) return fail(Errc::cancelled, "enough");
    return {};
  });
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::cancelled);
  EXPECT_EQ(seen, (std::vector<std::size_t>{8, 16, 24}));
}

TEST(Sequence, APromptIsReadInStagesChainedByFencesAndWaitedForOnce) {
  const models::Model model = tiny_model();
  Sequence s = expect(Sequence::make(model, {.prefill_step = 16, .use_session = true}));
  Device device = model.device();
  device.reset_stats();
  expect(s.read(tokens(48)));
  EXPECT_EQ(device.stats().command_buffers, 3U);
  EXPECT_EQ(device.stats().syncs, 1U);
  device.reset_stats();
  expect(s.read(tokens(1)));
  EXPECT_EQ(device.stats().command_buffers, 1U);
  EXPECT_EQ(device.stats().syncs, 1U);
}

TEST(Sequence, SeveralOnOneModelAreIndependent) {
  const models::Model model = tiny_model();
  Sequence a = expect(Sequence::make(model, {})), b = expect(Sequence::make(model, {}));
  const std::vector<float> alone = last_logits(a, tokens(20));
  a.reset();
  const auto ids = tokens(20);
  std::vector<float> interleaved;
  for (const std::int32_t id : ids) {
    interleaved = last_logits(a, {id});
    expect(b.read(std::vector<std::int32_t>{96 - id}));
  }
  EXPECT_EQ(interleaved, alone);
}

TEST(Generate, StopsForLengthStopTokenContextAndCaller) {
  const models::Model model = tiny_model();
  const auto run = [&](GenerateOptions options, std::size_t prompt, std::size_t stop_after) {
    Sequence s = expect(Sequence::make(model, {}));
    std::vector<std::int32_t> out;
    const GenerateStats stats =
        expect(generate(s, tokens(prompt), options, {.on_token = [&](std::int32_t t) -> Result<bool> {
                          out.push_back(t);
                          return out.size() < stop_after;
                        }}));
    EXPECT_EQ(stats.prompt_tokens, prompt);
    return std::pair(stats.finish, out);
  };
  const auto [length, ten] = run({.max_tokens = 10}, 5, SIZE_MAX);
  EXPECT_EQ(length, FinishReason::length);
  EXPECT_EQ(ten.size(), 10U);
  EXPECT_EQ(ten, greedy(model, tokens(5), 10));
  const auto [stop, before] = run({.max_tokens = 10, .stop_ids = {ten[0]}}, 5, SIZE_MAX);
  EXPECT_EQ(stop, FinishReason::stop);
  EXPECT_TRUE(before.empty());
  EXPECT_EQ(run({.max_tokens = 1000}, 90, SIZE_MAX).first, FinishReason::context);
  EXPECT_EQ(run({.max_tokens = 1000}, 90, SIZE_MAX).second.size(), 7U) << "six fit, and one is chosen after the last";
  EXPECT_EQ(run({.max_tokens = 1000}, 5, 3).first, FinishReason::cancelled);
  EXPECT_EQ(run({.max_tokens = 0}, 5, 3).second.size(), 0U);
}

TEST(Perplexity, ScoresWindowsWithoutOverlapAndDropsTheLastPartialOne) {
  const models::Model model = tiny_model();
  const auto ids = tokens(50);
  double sum = 0;
  for (const std::size_t w : {0, 1, 2}) {
    const std::vector<std::int32_t> window(ids.begin() + static_cast<std::ptrdiff_t>(w * 16),
                                           ids.begin() + static_cast<std::ptrdiff_t>(w * 16 + 16));
    const std::vector<float> logits = logits_of(model, window, 16);
    for (std::size_t i = 0; i + 1 < 16; ++i) {
      sum += negative_log_likelihood(std::span(logits).subspan(i * 97, 97), window[i + 1]);
    }
  }
  Sequence s = expect(Sequence::make(model, {.prefill_step = 7}));
  const Perplexity p = expect(perplexity(s, ids, 16));
  EXPECT_EQ(p.tokens, 50U);
  EXPECT_EQ(p.windows, 3U);
  EXPECT_DOUBLE_EQ(p.mean_nll, sum / 45);
  EXPECT_FALSE(perplexity(s, tokens(15), 16));
}

TEST(Perplexity, LikelihoodIsThatOfSoftmax) {
  EXPECT_NEAR(negative_log_likelihood(std::vector<float>{0, 0, 0, 0}, 2), std::log(4.0), 1e-12);
  EXPECT_NEAR(negative_log_likelihood(std::vector<float>{1000, 0}, 1), 1000, 1e-9);
}

TEST(AllFinite, FindsNanAndInfinity) {
  EXPECT_TRUE(all_finite(std::vector<float>{0, -3e38F, 1e-40F}));
  EXPECT_FALSE(all_finite(std::vector<float>{0, -INFINITY}));
  EXPECT_FALSE(all_finite(std::vector<float>{NAN, 0}));
  EXPECT_FALSE(all_finite(std::vector<float>{0, -NAN}));
}

}  // namespace
}  // namespace halyard::engine
