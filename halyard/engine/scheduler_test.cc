#include "halyard/engine/scheduler.h"

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

/// What became of one completion.
struct Outcome {
  Tokens tokens;
  std::optional<FinishReason> finish = {};
  std::optional<Error> error = {};
  bool ended() const { return finish || error; }
};

/// What generate() does with a request's i-th completion.
Outcome alone(Sequence& sequence, const Request& r, std::size_t i) {
  Outcome o;
  GenerateOptions options = r.options;
  if (options.sampling.seed) *options.sampling.seed += i;
  sequence.reset();
  auto stats = generate(sequence, r.prompt, options, {.on_token = [&](std::int32_t t) -> Result<bool> {
                          o.tokens.push_back(t);
                          return true;
                        }});
  if (stats) o.finish = stats->finish;
  else o.error = stats.error();
  return o;
}

/// A request under way, and what has come of it.
struct Followed {
  Request request;
  std::vector<Outcome> outcomes;
  Usage usage = {};
  std::uint64_t faults_before = 0;
  bool cancelled = false;
  bool ended() const {
    return std::ranges::all_of(outcomes, [](const Outcome& o) { return o.ended(); });
  }

  void take(const Event& e) {
    ASSERT_LT(e.choice, outcomes.size());
    Outcome& o = outcomes[e.choice];
    ASSERT_FALSE(o.ended()) << "an event after the end";
    ASSERT_EQ((e.token ? 1 : 0) + (e.finish ? 1 : 0) + (e.error ? 1 : 0), 1);
    if (e.token) o.tokens.push_back(*e.token);
    o.finish = e.finish;
    o.error = e.error;
    usage = e.usage;
  }
};

std::string words(const Outcome& o) {
  std::string s = fmt::format("{} tokens, {}", o.tokens.size(),
                              o.finish  ? to_string(*o.finish)
                              : o.error ? o.error->str()
                                        : "open");
  for (const std::int32_t t : o.tokens) s += fmt::format(" {}", t);
  return s;
}

Request random_request(const std::function<std::size_t(std::size_t)>& below, const Tokens& common, std::size_t most_n) {
  Request r;
  r.prompt.assign(common.begin(), common.begin() + static_cast<std::ptrdiff_t>(below(common.size())));
  const std::size_t more = below(3) ? below(6) : below(90);
  for (std::size_t i = 0; i <= more; ++i) r.prompt.push_back(static_cast<std::int32_t>(below(kSmallVocab - 1)));
  if (below(20) == 0) r.prompt[below(r.prompt.size())] = kPoison;
  r.options.max_tokens = below(8) ? below(40) : below(400);
  r.options.sampling.temp = below(3) ? 1 : 0;
  r.options.sampling.seed = below(1000);
  if (below(4) == 0) r.options.sampling.top_k = 5;
  if (below(4) == 0) r.options.sampling.repetition_penalty = 1.3;
  if (below(20) == 0) r.options.sampling.repetition_penalty = 1e38;  // its logits overflow
  for (std::size_t i = below(3); i-- > 0;) r.options.stop_ids.push_back(static_cast<std::int32_t>(below(kSmallVocab)));
  if (below(3) == 0) r.n = 1 + below(most_n);
  return r;
}

/// Requests that come and go while steps are run, some of which fail: what comes of each is what comes of it alone.
void run_history(unsigned seed) {
  SCOPED_TRACE(::testing::Message() << "HALYARD_SEED=" << seed);
  std::mt19937 random(seed);
  const std::function<std::size_t(std::size_t)> below = [&](std::size_t n) { return random() % n; };
  FaultyDevice faulty =
      open_faulty(expect(open_cpu_driver({.cpu = {.threads = 2}})), {.cpu = {.threads = 2}}, seed, {});
  const models::Model model = small_model(faulty.device, kSmallModels[below(std::size(kSmallModels))],
                                          below(2) ? Precision::fast : Precision::exact);
  Sequence sequence = expect(Sequence::make(model, {}));
  const std::size_t positions = 64 * (below(2) ? 2 + below(6) : 2 + below(30)), max_sequences = 1 + below(8);
  const BatchOptions sizes{.positions = positions,
                           .context = below(3) ? 0 : 1 + below(400),
                           .max_rows = max_sequences + below(below(2) ? 10 : 100),
                           .sequences = max_sequences};
  Scheduler scheduler(expect(Batch::make(model, sizes)), {.max_sequences = max_sequences});
  const std::size_t pages = scheduler.batch().pages_free(), context = scheduler.batch().context();
  Tokens common(1 + below(300));
  for (auto& t : common) t = static_cast<std::int32_t>(below(kSmallVocab - 1));
  const bool faults = below(2) == 0;

  std::map<Scheduler::Id, Followed> all;
  std::size_t to_come = 1 + below(12), steps = 0;
  for (; to_come > 0 || !scheduler.is_idle(); ++steps) {
    ASSERT_LT(steps, 20000U) << "it hangs";
    while (to_come > 0 && (scheduler.is_idle() || below(6) == 0)) {
      --to_come;
      Followed f{.request = random_request(below, common, max_sequences),
                 .outcomes = {},
                 .faults_before = faulty.driver->count()};
      f.outcomes.resize(f.request.n);
      auto job = scheduler.check(f.request);
      if (!job) {
        ASSERT_GT(f.request.prompt.size(), context) << job.error().str();
        continue;
      }
      ASSERT_LE(f.request.prompt.size(), context);
      all.emplace(scheduler.add(std::move(*job)), std::move(f));
    }
    if (!all.empty() && below(40) == 0) {
      auto& [id, f] = *std::next(all.begin(), static_cast<std::ptrdiff_t>(below(all.size())));
      f.cancelled = true;
      scheduler.cancel(id);
      ASSERT_FALSE(scheduler.has(id));
    }
    faulty.driver->set_odds(!faults || below(4) ? FaultOdds{}
                                                : FaultOdds{.allocate = 100, .kernel = 10, .submission = 200});
    const std::vector<Event> events = scheduler.step();
    faulty.driver->set_odds({});
    scheduler.took(static_cast<double>(1 + below(4)));
    ASSERT_LE(scheduler.running(), max_sequences);
    ASSERT_TRUE(scheduler.rows_written() == 0 ||
                scheduler.rows_read() <= scheduler.batch().max_rows() - scheduler.rows_written());
    for (const Event& e : events) {
      ASSERT_TRUE(all.contains(e.request));
      all.at(e.request).take(e);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  ASSERT_EQ(scheduler.batch().pages_free(), pages);
  ASSERT_EQ(scheduler.batch().slots_used(), 0U);
  for (auto& [id, f] : all) {
    ASSERT_TRUE(f.ended()) << "request " << id;
    ASSERT_EQ(f.usage.prompt, f.request.prompt.size());
    ASSERT_LT(f.usage.cached, f.request.prompt.size());
    std::size_t completion = 0;
    for (std::size_t i = 0; i < f.outcomes.size(); ++i) {
      const Outcome& got = f.outcomes[i];
      const Outcome expected = alone(sequence, f.request, i);
      completion += got.tokens.size() + (got.finish == FinishReason::stop ? 1 : 0);
      ASSERT_LE(got.tokens.size(), expected.tokens.size()) << words(got) << "\nalone: " << words(expected);
      ASSERT_TRUE(std::equal(got.tokens.begin(), got.tokens.end(), expected.tokens.begin()))
          << words(got) << "\nalone: " << words(expected);
      if (got.finish == FinishReason::cancelled && f.cancelled) continue;
      if (got.finish == FinishReason::context) {
        ASSERT_EQ(f.request.prompt.size() + got.tokens.size(), context + 1);
        continue;
      }
      if (got.error && got.error->str().find("not finite") == std::string::npos) {  // injected
        ASSERT_GT(faulty.driver->count(), f.faults_before);
        continue;
      }
      ASSERT_EQ(got.finish, expected.finish) << words(got) << "\nalone: " << words(expected);
      ASSERT_EQ(got.error.has_value(), expected.error.has_value()) << words(got) << "\nalone: " << words(expected);
      ASSERT_EQ(got.tokens.size(), expected.tokens.size());
    }
    ASSERT_EQ(f.usage.completion, completion);
  }
}

TEST(Scheduler, GivesEachRequestTheTokensItHasAloneUnderRandomHistories) {
  const Random random;
  const char* wanted = std::getenv("HALYARD_HISTORIES");
  const unsigned count = wanted ? static_cast<unsigned>(std::atoi(wanted)) : halyard::testing::patience > 1 ? 5 : 40;
  for (unsigned i = 0; i < count && !::testing::Test::HasFatalFailure(); ++i) run_history(random.seed + i);
}

/// A small model whose device fails when told to, and a scheduler for it.
class SchedulerTest : public ::testing::Test {
 protected:
  Scheduler scheduler(std::size_t positions, std::size_t max_rows = 64, std::size_t max_sequences = 8) {
    return Scheduler(expect(Batch::make(model_, {.positions = positions, .max_rows = max_rows})),
                     {.max_sequences = max_sequences});
  }
  static Request request(std::size_t prompt, std::size_t max_tokens, std::int32_t first = 1) {
    Request r;
    for (std::size_t i = 0; i < prompt; ++i) r.prompt.push_back((first + static_cast<std::int32_t>(i * i)) % 90);
    r.options.max_tokens = max_tokens;
    return r;
  }
  Scheduler::Id add(Scheduler& s, Request r) {
    const std::size_t n = r.n;
    const Scheduler::Id id = s.add(expect(s.check(r)));
    followed_[id] = {.request = std::move(r), .outcomes = std::vector<Outcome>(n)};
    return id;
  }
  void step(Scheduler& s) {
    for (const Event& e : s.step()) followed_.at(e.request).take(e);
    s.took(1);
  }
  void run(Scheduler& s) {
    for (int i = 0; !s.is_idle(); ++i) {
      ASSERT_LT(i, 10000);
      step(s);
    }
    EXPECT_EQ(s.batch().pages_free(), s.batch().pages());
  }
  Outcome& outcome(Scheduler::Id id, std::size_t choice = 0) { return followed_.at(id).outcomes.at(choice); }
  void expect_as_alone(Scheduler::Id id) {
    Sequence sequence = expect(Sequence::make(model_, {}));
    for (std::size_t i = 0; i < followed_.at(id).outcomes.size(); ++i) {
      const Outcome expected = alone(sequence, followed_.at(id).request, i);
      EXPECT_EQ(outcome(id, i).tokens, expected.tokens) << "choice " << i;
      EXPECT_EQ(outcome(id, i).finish, expected.finish) << "choice " << i;
    }
  }
  static std::string refusal(const Scheduler& s, Request r) {
    const auto job = s.check(std::move(r));
    return job ? "taken" : job.error().str();
  }

  FaultyDevice faulty_ = open_faulty(expect(open_cpu_driver({.cpu = {.threads = 2}})), {.cpu = {.threads = 2}}, 1, {});
  models::Model model_ = small_model(faulty_.device);
  std::map<Scheduler::Id, Followed> followed_;
};

TEST_F(SchedulerTest, RefusesAtOnceWhatCanNeverRun) {
  const Scheduler s = scheduler(128, 64, 4);
  EXPECT_EQ(refusal(s, request(128, 5)), "taken");
  EXPECT_EQ(refusal(s, request(129, 5)),
            "the prompt is 129 tokens long, the model's context 400, and there is memory for 128");
  EXPECT_EQ(refusal(s, request(0, 5)), "there are no tokens to read: the prompt is empty");
  Request r = request(5, 5);
  r.n = 5;
  EXPECT_EQ(refusal(s, r), "n must be from 1 to 4, got 5");
  r = request(5, 5);
  r.prompt[2] = kSmallVocab;
  EXPECT_NE(refusal(s, r).find("token id 97"), std::string::npos);
  r = request(5, 5);
  r.options.sampling.temp = -1;
  EXPECT_NE(refusal(s, r).find("temp"), std::string::npos);
}

TEST_F(SchedulerTest, WhatDoesNotFitNowWaitsInOrder) {
  Scheduler s = scheduler(192);
  const auto a = add(s, request(100, 20, 1)), b = add(s, request(70, 5, 2)), c = add(s, request(5, 5, 3));
  step(s);
  EXPECT_EQ(s.running(), 1U) << "two pages for the first, and two for the second";
  EXPECT_EQ(s.waiting(), 2U) << "the third does not pass the second";
  run(s);
  for (const auto id : {a, b, c}) expect_as_alone(id);
  EXPECT_EQ(s.preempted(), 0U);
}

TEST_F(SchedulerTest, WhoCameLastIsPutBackAndGoesOnWithTheSameBytes) {
  Scheduler s = scheduler(256);
  const auto a = add(s, request(60, 150, 1)), b = add(s, request(60, 150, 2));
  step(s);
  while (!outcome(a).ended()) {
    const std::size_t before = outcome(a).tokens.size();
    step(s);
    ASSERT_TRUE(before == 0 || outcome(a).ended() || outcome(a).tokens.size() == before + 1) << "the first is held up";
  }
  EXPECT_GT(s.preempted(), 0U);
  run(s);
  expect_as_alone(a);
  expect_as_alone(b);
  EXPECT_EQ(followed_.at(b).usage.cached, 0U) << "what it takes over again it had read itself";
}

TEST_F(SchedulerTest, WhatIsPutBackComesBeforeWhatCameLater) {
  Scheduler s = scheduler(256, 64, 2);
  const auto a = add(s, request(60, 150, 1)), b = add(s, request(60, 150, 2)), c = add(s, request(5, 5, 3));
  while (!outcome(a).ended()) {
    step(s);
    ASSERT_TRUE(outcome(c).tokens.empty());
  }
  EXPECT_GT(s.preempted(), 0U);
  run(s);
  for (const auto id : {a, b, c}) expect_as_alone(id);
}

TEST_F(SchedulerTest, ATextEndsWhereThereIsNoMoreMemory) {
  Scheduler s = scheduler(128);
  const auto a = add(s, request(100, 300));
  run(s);
  EXPECT_EQ(outcome(a).finish, FinishReason::context);
  EXPECT_EQ(outcome(a).tokens.size(), 29U) << "the last one chosen is not read";
}

TEST_F(SchedulerTest, APromptIsTakenOverFromOneReadBefore) {
  Scheduler s = scheduler(1024);
  const auto a = add(s, request(200, 3));
  run(s);
  Request r = request(200, 3);
  r.prompt[150] ^= 1;
  const auto b = add(s, r), c = add(s, request(192, 3));
  run(s);
  EXPECT_EQ(followed_.at(a).usage.cached, 0U);
  EXPECT_EQ(followed_.at(b).usage.cached, 128U);
  EXPECT_EQ(followed_.at(c).usage.cached, 191U) << "one is left to run";
  for (const auto id : {a, b, c}) expect_as_alone(id);
}

TEST_F(SchedulerTest, APromptIsTakenOverWithTheStateAtAPagesEnd) {
  for (const char* type : {"mamba2", "hybrid"}) {
    SCOPED_TRACE(type);
    model_ = small_model(faulty_.device, type);
    Scheduler s = scheduler(2048, 128);
    Request first = request(200, 80);
    first.options.sampling.logit_bias[kPoison] = -INFINITY;
    const auto a = add(s, first);  // in steps that end after 128, 192 and 200, and then after each token
    run(s);
    Request r = request(200, 3);
    r.prompt[150] ^= 1;
    const auto b = add(s, r), c = add(s, request(192, 3)), d = add(s, request(193, 3));
    run(s);
    Request longer = request(200, 3);
    longer.prompt.insert(longer.prompt.end(), outcome(a).tokens.begin(), outcome(a).tokens.end());
    const auto e = add(s, longer);
    run(s);
    EXPECT_EQ(followed_.at(b).usage.cached, 128U);
    EXPECT_EQ(followed_.at(c).usage.cached, 128U) << "the state after 192 tokens is one too far";
    EXPECT_EQ(followed_.at(d).usage.cached, 192U);
    EXPECT_EQ(followed_.at(e).usage.cached, 256U) << "what was written is known as well";
    for (const auto id : {a, b, c, d, e}) expect_as_alone(id);
    EXPECT_EQ(s.batch().slots_used(), 0U);
  }
}

TEST_F(SchedulerTest, CompletionsForkWithTheirState) {
  model_ = small_model(faulty_.device, "hybrid");
  Scheduler s = scheduler(1024);
  Request r = request(150, 20);
  r.n = 4;
  r.options.sampling.temp = 1;
  r.options.sampling.seed = 7;
  r.options.sampling.logit_bias[kPoison] = -INFINITY;
  const auto a = add(s, r);
  run(s);
  expect_as_alone(a);
  EXPECT_NE(outcome(a, 0).tokens, outcome(a, 1).tokens);
}

TEST_F(SchedulerTest, PromptsThatBeginAlikeAreReadOnce) {
  Scheduler s = scheduler(2048);
  std::vector<Scheduler::Id> ids{add(s, request(390, 2))};
  for (int i = 0; i < 4; ++i) {
    Request r = request(200, 2);
    r.prompt[195] = i;
    ids.push_back(add(s, r));
  }
  std::size_t rows = 0;
  for (int i = 0; !s.is_idle(); ++i) {
    ASSERT_LT(i, 1000);
    step(s);
    rows += s.rows_read();
  }
  EXPECT_LE(rows, 390U + 4 * 8);
  for (const auto id : ids) expect_as_alone(id);
}

TEST_F(SchedulerTest, AShortPromptIsNotHeldUpByALongOne) {
  Scheduler s = scheduler(2048, 16);
  const auto a = add(s, request(390, 2, 1));
  step(s);
  const auto b = add(s, request(10, 2, 2));
  for (int i = 0; i < 4; ++i) step(s);
  EXPECT_TRUE(outcome(b).ended());
  EXPECT_TRUE(outcome(a).tokens.empty());
  run(s);
  expect_as_alone(a);
  expect_as_alone(b);
}

TEST_F(SchedulerTest, ATextIsWrittenInEveryStepWhileAPromptIsRead) {
  Scheduler s = scheduler(2048);
  const auto a = add(s, request(5, 60, 1));
  step(s);
  step(s);
  const auto b = add(s, request(390, 2, 2));
  while (outcome(b).tokens.empty()) {
    const std::size_t before = outcome(a).tokens.size();
    step(s);
    ASSERT_TRUE(outcome(a).ended() || outcome(a).tokens.size() == before + 1);
  }
  EXPECT_FALSE(outcome(a).tokens.empty());
  run(s);
  expect_as_alone(a);
  expect_as_alone(b);
}

TEST_F(SchedulerTest, CompletionsForkWhenTheirPromptIsRead) {
  Scheduler s = scheduler(1024);
  Request r = request(150, 20);
  r.n = 4;
  r.options.sampling.temp = 1;
  r.options.sampling.seed = 7;
  r.options.sampling.logit_bias[kPoison] = -INFINITY;
  const auto a = add(s, r);
  std::size_t rows = 0;
  while (!s.is_idle() && outcome(a, 3).tokens.empty()) {
    step(s);
    rows += s.rows_read();
  }
  EXPECT_EQ(rows, 150U);
  EXPECT_EQ(s.running(), 4U);
  EXPECT_EQ(s.batch().pages() - s.batch().pages_free(), 3U) << "all pages are shared until they are written into";
  run(s);
  expect_as_alone(a);
  EXPECT_NE(outcome(a, 0).tokens, outcome(a, 1).tokens);
  EXPECT_EQ(followed_.at(a).usage.completion, 80U);
}

TEST_F(SchedulerTest, CancellingGivesBackWhatARequestHeldAndTouchesNoOther) {
  Scheduler s = scheduler(1024);
  const auto a = add(s, request(100, 300, 1)), b = add(s, request(30, 10, 2));
  step(s);
  step(s);
  s.cancel(a);
  EXPECT_EQ(s.batch().pages() - s.batch().pages_free(), 1U);
  run(s);
  EXPECT_EQ(outcome(a).finish, FinishReason::cancelled);
  expect_as_alone(b);
  s.cancel(a);
  EXPECT_TRUE(s.is_idle());
}

TEST_F(SchedulerTest, AStepThatFailsIsTriedAgainOneByOne) {
  Scheduler s = scheduler(1024);
  const auto a = add(s, request(10, 20, 1)), b = add(s, request(30, 20, 2));
  step(s);
  step(s);
  for (int i = 0; i < 2; ++i) {
    faulty_.driver->set_odds({.submission = 1000});
    step(s);
    faulty_.driver->set_odds({});
    for (int j = 0; j < 3; ++j) step(s);
    EXPECT_EQ(s.rows_written(), 2U) << "together again, when each has run alone";
  }
  run(s);
  expect_as_alone(a);
  expect_as_alone(b);
}

TEST_F(SchedulerTest, WhatFailsAloneHasFailedAndLeavesTheEngineUsable) {
  Scheduler s = scheduler(1024);
  const auto a = add(s, request(10, 20, 1)), b = add(s, request(30, 20, 2));
  step(s);
  faulty_.driver->set_odds({.submission = 1000});
  for (int i = 0; i < 3; ++i) step(s);
  faulty_.driver->set_odds({});
  EXPECT_TRUE(s.is_idle());
  for (const auto id : {a, b}) {
    ASSERT_TRUE(outcome(id).error);
    EXPECT_NE(outcome(id).error->str().find("injected"), std::string::npos) << outcome(id).error->str();
  }
  const auto c = add(s, request(30, 20, 2));
  run(s);
  expect_as_alone(c);
}

TEST_F(SchedulerTest, LogitsThatAreNotFiniteEndOneTextOnly) {
  Scheduler s = scheduler(1024);
  Request bad = request(30, 20, 2);
  bad.prompt[10] = kPoison;
  bad.n = 2;
  const auto a = add(s, request(10, 20, 1)), b = add(s, bad);
  run(s);
  expect_as_alone(a);
  for (const std::size_t choice : {0, 1}) {
    ASSERT_TRUE(outcome(b, choice).error);
    EXPECT_NE(outcome(b, choice).error->str().find("not finite"), std::string::npos) << outcome(b).error->str();
  }
}

}  // namespace
}  // namespace halyard::engine
