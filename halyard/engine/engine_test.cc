#include "halyard/engine/engine.h"

#include <atomic>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "halyard/engine/generator.h"
#include "halyard/engine/sequence.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/models.h"
#include "halyard/testing/small_model.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;
using Tokens = std::vector<std::int32_t>;

class EngineTest : public ::testing::Test {
 protected:
  static Request request(std::size_t prompt, std::size_t max_tokens, std::int32_t first = 1) {
    Request r;
    for (std::size_t i = 0; i < prompt; ++i) r.prompt.push_back((first + static_cast<std::int32_t>(i * i)) % 90);
    r.options.max_tokens = max_tokens;
    r.options.sampling.temp = 1;
    r.options.sampling.logit_bias[kPoison] = -INFINITY;
    r.options.sampling.seed = static_cast<std::uint64_t>(first);
    return r;
  }
  Tokens alone(const Request& r, std::size_t choice = 0) {
    Sequence sequence = expect(Sequence::make(model_, {}));
    Tokens tokens;
    GenerateOptions o = r.options;
    *o.sampling.seed += choice;
    expect(generate(sequence, r.prompt, o, {.on_token = [&](std::int32_t t) -> Result<bool> {
                      tokens.push_back(t);
                      return true;
                    }}));
    return tokens;
  }
  struct Ends {
    std::map<std::size_t, Tokens> tokens;
    std::map<std::size_t, FinishReason> finish;
    std::map<std::size_t, Error> errors;
    Usage usage;
  };
  static Ends drain(Stream& s) {
    Ends ends;
    while (const auto e = s.next()) {
      if (e->token) ends.tokens[e->choice].push_back(*e->token);
      if (e->finish) ends.finish[e->choice] = *e->finish;
      if (e->error) ends.errors[e->choice] = *e->error;
      ends.usage = e->usage;
    }
    return ends;
  }

  models::Model model_ = small_model(expect(Device::open("cpu", {.cpu = {.threads = 2}})));
};

TEST_F(EngineTest, GivesManyThreadsTheTokensTheirRequestsHaveAlone) {
  Engine engine = expect(Engine::make(model_, {.positions = 1024, .max_rows = 48, .max_sequences = 6}));
  constexpr int kThreads = 4, kEach = 5;
  std::vector<std::vector<Ends>> all(kThreads);
  std::vector<std::thread> threads;
  const auto of = [](int t, int i) {
    Request r = request(static_cast<std::size_t>(10 + 37 * i), 20, t * kEach + i);
    r.n = i == 2 ? 3 : 1;
    return r;
  };
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        Stream dropped = expect(engine.submit(request(100, 300)));
        Stream s = expect(engine.submit(of(t, i)));
        all[static_cast<std::size_t>(t)].push_back(drain(s));
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kEach; ++i) {
      const Request r = of(t, i);
      const Ends& got = all[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)];
      EXPECT_EQ(got.finish.size(), r.n);
      for (std::size_t choice = 0; choice < r.n; ++choice) EXPECT_EQ(got.tokens.at(choice), alone(r, choice));
      EXPECT_EQ(got.usage.prompt, r.prompt.size());
      EXPECT_EQ(got.usage.completion, 20 * r.n);
    }
  }
}

TEST_F(EngineTest, RunsWhatKeepsSlots) {
  for (const char* type : {"mamba2", "hybrid"}) {
    model_ = small_model(model_.device(), type);
    Engine engine = expect(Engine::make(model_, {.max_rows = 48, .max_sequences = 3}));
    std::vector<Request> requests;
    std::vector<Stream> streams;
    for (int i = 0; i < 8; ++i)
      streams.push_back(
          expect(engine.submit(requests.emplace_back(request(static_cast<std::size_t>(20 + 30 * (i % 3)), 30, i)))));
    for (std::size_t i = 0; i < streams.size(); ++i)
      EXPECT_EQ(drain(streams[i]).tokens.at(0), alone(requests[i])) << type;
  }
}

TEST_F(EngineTest, AnotherThreadCancels) {
  Engine engine = expect(Engine::make(model_));
  Request r = request(10, 380);
  r.n = 2;
  Stream s = expect(engine.submit(r));
  ASSERT_TRUE(s.next()->token);
  std::thread other([&] { s.cancel(); });
  const Ends ends = drain(s);
  other.join();
  // It may have been over before.
  for (const std::size_t choice : {0, 1}) {
    const FinishReason why = ends.finish.at(choice);
    EXPECT_TRUE(why == FinishReason::cancelled || why == FinishReason::length) << to_string(why);
  }
  EXPECT_FALSE(s.next());
}

TEST_F(EngineTest, WhatWaitsIsCancelledToo) {
  Engine engine = expect(Engine::make(model_, {.max_sequences = 1}));
  std::vector<Stream> before;
  for (int i = 0; i < 10; ++i) before.push_back(expect(engine.submit(request(10, 380, i))));
  Stream s = expect(engine.submit(request(10, 380)));
  s.cancel();
  const Ends ends = drain(s);
  EXPECT_EQ(ends.finish.at(0), FinishReason::cancelled);
  EXPECT_TRUE(ends.tokens.empty());
}

TEST_F(EngineTest, StreamsOutliveIt) {
  std::optional<Engine> engine = expect(Engine::make(model_, {.max_sequences = 2}));
  std::vector<Stream> streams;
  for (int i = 0; i < 5; ++i) streams.push_back(expect(engine->submit(request(10, 380, i))));
  ASSERT_TRUE(streams[0].next()->token);
  engine.reset();
  for (Stream& s : streams) {
    const Ends ends = drain(s);
    EXPECT_EQ(ends.finish.size(), 1U);
  }
  streams.clear();
}

TEST_F(EngineTest, RefusesAtOnceWhatCanNeverRun) {
  Engine engine = expect(Engine::make(model_, {.positions = 64}));
  const auto s = engine.submit(request(65, 1));
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().code, Errc::limit_exceeded);
}

TEST_F(EngineTest, HandlesThatWereMovedFromSaySo) {
  Engine engine = expect(Engine::make(model_));
  Engine other = std::move(engine);
  EXPECT_EQ(engine.submit(request(10, 5)).error().code, Errc::invalid_state);
  Stream s = expect(other.submit(request(10, 5)));
  Stream taken = std::move(s);
  s.cancel();
  EXPECT_FALSE(s.next().has_value());
  EXPECT_EQ(drain(taken).tokens.at(0).size(), 5U);
}

TEST_F(EngineTest, TakesTheMemoryThereIs) {
  // A position takes 2 layers · 2 · 2 heads · 16 · 2 bytes; weights and scratch take most of what is left.
  Device device = expect(Device::open("cpu", {.cpu = {.threads = 2}}));
  const models::Model model = small_model(device);
  const std::size_t before = device.stats().bytes_allocated;
  Engine whole = expect(Engine::make(model, {.max_rows = 16}));
  const std::size_t needs = device.stats().bytes_allocated - before;
  Device little = expect(Device::open("cpu", {.cpu = {.threads = 2}, .memory_budget = before + needs - 20'000}));
  Engine engine = expect(Engine::make(small_model(little), {.max_rows = 16}));
  Stream s = expect(engine.submit(request(10, 5)));
  EXPECT_EQ(drain(s).tokens.at(0).size(), 5U);
  EXPECT_FALSE(engine.submit(request(300, 5)));
}

TEST_F(EngineTest, AllocationsThatFailEndRequestsAndNothingElse) {
  Engine engine = expect(Engine::make(model_));
  std::size_t failed = 0, done = 0;
  for (std::uint64_t n = 1; n < 400; n += 1 + n / 16) {
    Request r = request(20, 5);
    Stream s = expect(engine.submit(r));
    const FailNew fail(n, Allocating::other_threads);
    const Ends ends = drain(s);
    EXPECT_EQ(ends.finish.size() + ends.errors.size(), 1U);
    ++(ends.errors.empty() ? done : failed);
    for (const auto& [choice, e] : ends.errors) EXPECT_EQ(e.code, Errc::out_of_memory) << e.str();
  }
  EXPECT_GT(failed, 0U);
  EXPECT_GT(done, 0U);
  const Request r = request(40, 10);
  Stream s = expect(engine.submit(r));
  EXPECT_EQ(drain(s).tokens.at(0), alone(r));
}

}  // namespace
}  // namespace halyard::engine
