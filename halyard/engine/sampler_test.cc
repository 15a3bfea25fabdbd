#include "halyard/engine/sampler.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "halyard/base/file.h"
#include "halyard/base/json.h"
#include "halyard/testing/json.h"
#include "halyard/testing/paths.h"
#include "halyard/testing/patience.h"

namespace halyard {
namespace {

using Floats = std::vector<float>;
using Tokens = std::vector<std::int32_t>;

constexpr float infinity = std::numeric_limits<float>::infinity();

Sampler sampler_of(const SamplerOptions& options, std::size_t vocab_size) {
  Result<Sampler> made = Sampler::make(options, vocab_size);
  EXPECT_TRUE(made) << made.error().str();
  return std::move(*made);
}

Floats distribution_of(const SamplerOptions& options, Floats logits, const Tokens& history = {}) {
  const auto result = sampler_of(options, logits.size()).distribution(logits, history);
  EXPECT_TRUE(result) << result.error().str();
  return result.value_or(Floats(logits.size()));
}

Floats random_logits(std::size_t n, double deviation, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Floats logits(n);
  for (float& x : logits) {  // a sum of uniforms is normal enough, and the same everywhere
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random() >> 11) * 0x1p-53;
    x = static_cast<float>(sum * deviation);
  }
  return logits;
}

void expect_near(const Floats& got, const Floats& want, float tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << "token " << i;
}

// ---- Against mlx-lm

SamplerOptions options_of(const Json& c) {
  SamplerOptions o;
  o.temp = c["temp"].get<double>();
  o.top_p = c["top_p"].get<double>();
  o.min_p = c["min_p"].get<double>();
  o.min_tokens_to_keep = c.contains("min_tokens_to_keep") ? c["min_tokens_to_keep"].get<int>() : 1;
  o.top_k = c["top_k"].get<int>();
  o.xtc_probability = c["xtc_probability"].get<double>();
  o.xtc_threshold = c["xtc_threshold"].get<double>();
  o.xtc_special_tokens = c["xtc_special_tokens"].get<Tokens>();
  o.repetition_penalty = c["repetition_penalty"].get<double>();
  o.presence_penalty = c["presence_penalty"].get<double>();
  o.frequency_penalty = c["frequency_penalty"].get<double>();
  for (const auto& [token, value] : c["logit_bias"].items())
    o.logit_bias[std::stoi(std::string(token))] = value.get<float>();
  return o;
}

/// A file of f32 vectors; enough of safetensors for the goldens.
struct Tensors {
  std::string bytes;
  Json header;
  explicit Tensors(const std::string& path) : bytes(read_file(path).value_or("")) {
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data(), sizeof size);
    header = testing::json_of(bytes.substr(8, size));
    bytes.erase(0, 8 + size);
  }
  Floats at(const std::string& name) const {
    const auto range = header[name]["data_offsets"].get<std::vector<std::size_t>>();
    Floats values((range[1] - range[0]) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + range[0], range[1] - range[0]);
    return values;
  }
};

TEST(Sampler, DistributionsAreThoseOfMlxLm) {
  const std::string json = testing::golden("text/sampling.json"),
                    tensors = testing::golden("text/sampling.safetensors");
  if (json.empty() || tensors.empty()) GTEST_SKIP() << "no golden text/sampling";
  const Json cases = testing::json_of(*read_file(json));
  const Tensors golden(tensors);
  ASSERT_FALSE(cases.empty());
  for (const Json& c : cases) {
    const std::string i = std::to_string(c["i"].get<int>());
    SCOPED_TRACE("case " + i + ": " + c.dump());
    const Floats want = golden.at("probs_" + i);
    const Floats got = distribution_of(options_of(c), golden.at("logits_" + i), c["history"].get<Tokens>());
    expect_near(got, want, 1e-5F);
    for (std::size_t t = 0; t < want.size(); ++t) EXPECT_EQ(got[t] > 0, want[t] > 0) << "token " << t << " " << want[t];
  }
}

// ---- Against the definition, written plainly: sort, then cut

Floats plain_distribution(const SamplerOptions& o, const Floats& logits) {
  const std::size_t n = logits.size();
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
  const double top = logits[order[0]];
  double total = 0;
  for (const float x : logits) total += std::exp(x - top);
  std::vector<bool> kept(n, true);
  double above = 0;
  for (std::size_t rank = 0; rank < n; ++rank) {
    const double x = logits[order[rank]];
    if (o.top_p > 0 && o.top_p < 1 && above >= o.top_p * total) kept[order[rank]] = false;
    if (o.min_p > 0 && x < top + std::log(o.min_p) && rank >= static_cast<std::size_t>(o.min_tokens_to_keep))
      kept[order[rank]] = false;
    if (o.top_k > 0 && rank >= static_cast<std::size_t>(o.top_k)) kept[order[rank]] = false;
    above += std::exp(x - top);
  }
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += kept[i] ? std::exp((logits[i] - top) / o.temp) : 0;
  Floats p(n);
  for (std::size_t i = 0; i < n; ++i)
    p[i] = kept[i] ? static_cast<float>(std::exp((logits[i] - top) / o.temp) / sum) : 0;
  return p;
}

TEST(Sampler, LargeVocabulariesAreFilteredAsTheDefinitionSays) {
  const std::uint64_t seed = 20250107;
  std::mt19937_64 random(seed);
  const auto one_of = [&](std::vector<double> values) { return values[random() % values.size()]; };
  for (int round = 0; round < 60; ++round) {
    SamplerOptions o;
    o.temp = one_of({0.3, 0.8, 1, 1.7});
    o.top_p = one_of({0, 0.3, 0.95, 0.999, 1});
    o.min_p = one_of({0, 0, 0.01, 0.2});
    o.min_tokens_to_keep = static_cast<int>(one_of({1, 7}));
    o.top_k = static_cast<int>(one_of({0, 1, 50, 900}));
    const std::size_t n = 1000 + random() % 20000;
    const double deviation = one_of({0.1, 2, 6});
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const Floats logits = random_logits(n, deviation, random());
    const Floats got = distribution_of(o, logits), want = plain_distribution(o, logits);
    for (std::size_t i = 0; i < n; ++i) ASSERT_NEAR(got[i], want[i], 1e-6 + 1e-4 * want[i]) << "token " << i;
  }
}

TEST(Sampler, TiesAtTopKGoToTheLowerTokens) {
  SamplerOptions o;
  o.temp = 1;
  o.top_k = 3;
  expect_near(distribution_of(o, {1, 2, 1, 1, 1}), Floats{0.21194156F, 0.57611688F, 0.21194156F, 0, 0}, 1e-6F);
  expect_near(
      distribution_of(o, Floats(200, 5)),
      [] {
        Floats p(200);
        p[0] = p[1] = p[2] = 1.0F / 3;
        return p;
      }(),
      1e-6F);
}

TEST(Sampler, XtcAppliesAsOftenAsAsked) {
  SamplerOptions o;
  o.temp = 1;
  o.xtc_probability = 0.25;
  o.xtc_threshold = 0.2;
  // 0.5 and 0.3 exceed the threshold; applied, only the lesser of them and what is below stays
  expect_near(distribution_of(o, {std::log(0.5F), std::log(0.3F), std::log(0.15F), std::log(0.05F)}),
              {0.375F, 0.225F + 0.25F * 0.6F, 0.1125F + 0.25F * 0.3F, 0.0375F + 0.25F * 0.1F}, 1e-6F);
  o.xtc_probability = 1;
  o.xtc_special_tokens = {0};
  expect_near(distribution_of(o, {std::log(0.5F), std::log(0.3F), std::log(0.25F)}), {0.5F / 0.75F, 0, 0.25F / 0.75F},
              1e-6F);
}

TEST(Sampler, XtcMayDropTheLargestLogitAtAnyTemperature) {
  SamplerOptions o;
  o.temp = 1e-3;
  o.xtc_probability = 1;
  o.xtc_threshold = 0.1;
  expect_near(distribution_of(o, {2, 1, -3}), {0, 1, 0}, 1e-6F);
}

// ---- Penalties

TEST(Sampler, PenaltiesSeeOnlyTheRecentTokens) {
  SamplerOptions o;
  o.temp = 1;
  const Floats flat(6, 1);
  const auto ratio = [&](int token, const Tokens& history) {
    const Floats p = distribution_of(o, flat, history);
    return std::log(p[static_cast<std::size_t>(token)] / p[5]);
  };
  o.presence_penalty = 0.5;
  o.presence_context_size = 3;
  EXPECT_NEAR(ratio(0, {0, 0, 1}), -0.5, 1e-5) << "once, however often it stands there";
  EXPECT_NEAR(ratio(0, {0, 1, 2, 3}), 0, 1e-5) << "out of the window";
  o.presence_context_size = 0;
  EXPECT_NEAR(ratio(0, {0, 1, 2, 3}), -0.5, 1e-5) << "0 is the whole history";
  o.presence_penalty = 0;
  o.frequency_penalty = 0.5;
  EXPECT_NEAR(ratio(0, {0, 0, 1}), -1, 1e-5) << "every time";
  o.frequency_penalty = 0;
  o.repetition_penalty = 2;
  EXPECT_NEAR(ratio(0, {0, 0, 1}), -0.5, 1e-5) << "positive logits are divided, once";
}

TEST(Sampler, GreedyTakesTheFirstLargestLogitAfterThePenalties) {
  Sampler greedy = sampler_of({}, 200);
  Floats logits(200, -1);
  logits[70] = logits[150] = 3;
  EXPECT_EQ(greedy.sample(logits, {}).value_or(-1), 70);
  SamplerOptions o;
  o.logit_bias = {{70, -infinity}};
  EXPECT_EQ(sampler_of(o, 200).sample(logits, {}).value_or(-1), 150);
}

// ---- Drawing

/// The chi-square statistic of `draws` samples, over its degrees of freedom's 99.99 % quantile (Wilson and Hilferty).
double chi_square_ratio(const SamplerOptions& o, const Floats& logits, int draws) {
  Sampler sampler = sampler_of(o, logits.size());
  const Floats p = distribution_of(o, logits);
  std::vector<int> count(logits.size());
  for (int i = 0; i < draws; ++i) {
    Floats copy = logits;
    const auto token = static_cast<std::size_t>(sampler.sample(copy, {}).value());
    EXPECT_GT(p[token], 0) << "drew token " << token;
    ++count[token];
  }
  double statistic = 0, freedom = -1;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] * static_cast<float>(draws) < 5) continue;
    const double expected = p[i] * static_cast<double>(draws);
    statistic += (count[i] - expected) * (count[i] - expected) / expected;
    ++freedom;
  }
  const double a = 2 / (9 * freedom);
  return statistic / (freedom * std::pow(1 - a + 3.719 * std::sqrt(a), 3));
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const int draws = halyard::testing::patience > 1 ? 20'000 : 200'000;
  std::vector<SamplerOptions> all(6);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].temp = 0.9;
    all[i].seed = 1234 + i;
  }
  all[1].top_k = 5;
  all[2].top_p = 0.9;
  all[3].min_p = 0.05;
  all[4].xtc_probability = 0.4;
  all[4].xtc_threshold = 0.1;
  all[5].temp = 3;
  all[5].top_p = 0.99;
  all[5].top_k = 60;
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE("options " + std::to_string(i));
    EXPECT_LT(chi_square_ratio(all[i], random_logits(150, 1.5, 7 + i), draws), 1);
  }
}

TEST(Sampler, OneSeedDrawsTheSameTokensEverywhere) {
  SamplerOptions o;
  o.temp = 1;
  o.seed = 42;
  const auto draw = [&] {
    Sampler sampler = sampler_of(o, 1000);
    Tokens tokens;
    for (std::uint64_t i = 0; i < 8; ++i) {
      Floats logits = random_logits(1000, 2, i);
      tokens.push_back(sampler.sample(logits, tokens).value());
    }
    return tokens;
  };
  EXPECT_EQ(draw(), (Tokens{753, 580, 740, 72, 927, 111, 651, 352}));
  o.top_k = 40;
  o.top_p = 0.9;
  const Tokens filtered = {714, 577, 716, 52, 973, 128, 752, 316};
  EXPECT_EQ(draw(), filtered);
  o.seed = 43;
  EXPECT_NE(draw(), filtered);
}

TEST(Sampler, ExtremeTemperaturesAreFinite) {
  for (const double temp : {1e-300, 1e-8, 1e300}) {
    SamplerOptions o;
    o.temp = temp;
    const Floats p = distribution_of(o, {1, 3, 2});
    EXPECT_NEAR(p[1], temp < 1 ? 1.0F : 1.0F / 3, 1e-6) << temp;
    o.top_k = 2;
    EXPECT_NEAR(distribution_of(o, {1, 3, 2})[1], temp < 1 ? 1.0F : 0.5F, 1e-6) << temp;
  }
}

// ---- Errors

std::string make_error(const SamplerOptions& o) {
  const auto made = Sampler::make(o, 300);
  return made ? "" : made.error().str();
}

TEST(Sampler, WrongOptionsAreNamed) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto with = [](auto change) {
    SamplerOptions o;
    o.temp = 1;
    change(o);
    return make_error(o);
  };
  EXPECT_EQ(with([](auto&) {}), "");
  EXPECT_EQ(with([](auto& o) { o.temp = -1; }), "temp must be a finite number >= 0, got -1");
  EXPECT_EQ(with([](auto& o) { o.top_p = 1.5; }), "top_p must be from 0 to 1, got 1.5");
  EXPECT_EQ(with([](auto& o) { o.top_k = 300; }), "top_k must be less than the vocabulary's 300 tokens, got 300");
  EXPECT_NE(with([&](auto& o) { o.temp = nan; }).find("temp"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.min_p = -0.1; }).find("min_p"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.min_tokens_to_keep = 0; }).find("min_tokens_to_keep"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.xtc_threshold = 0.6; }).find("xtc_threshold"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.xtc_probability = 2; }).find("xtc_probability"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.xtc_special_tokens = {300}; }).find("xtc_special_tokens"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.repetition_penalty = -1; }).find("repetition_penalty"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.repetition_context_size = -1; }).find("repetition_context_size"), std::string::npos);
  EXPECT_NE(with([&](auto& o) { o.presence_penalty = nan; }).find("presence_penalty"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.logit_bias = {{-1, 0.0F}}; }).find("logit_bias"), std::string::npos);
  EXPECT_NE(with([](auto& o) { o.logit_bias = {{1, infinity}}; }).find("logit_bias"), std::string::npos);
}

TEST(Sampler, WrongLogitsAndTokensAreErrors) {
  const auto error_of = [](const SamplerOptions& o, Floats logits, const Tokens& history) {
    const auto result = sampler_of(o, 100).sample(logits, history);
    return result ? std::string() : result.error().str();
  };
  for (const float wrong : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()})
    for (const std::size_t place : {0U, 63U, 99U}) {
      Floats logits(100, 1);
      logits[place] = wrong;
      EXPECT_EQ(error_of({}, logits, {}), "logits are not finite") << wrong << " at " << place;
    }
  EXPECT_EQ(error_of({}, Floats(99), {}), "expected 100 logits, got 99");
  SamplerOptions o;
  o.presence_penalty = 1;
  EXPECT_EQ(error_of(o, Floats(100), {100}), "the history has token 100, the vocabulary ends at 99");
  o.presence_penalty = -1e300;
  EXPECT_EQ(error_of(o, Floats(100), {1}), "logits are not finite after the penalties");
  o.presence_penalty = 0;
  for (std::int32_t t = 0; t < 100; ++t) o.logit_bias[t] = -infinity;
  EXPECT_EQ(error_of(o, Floats(100), {}), "logit_bias and the penalties leave no token");
}

}  // namespace
}  // namespace halyard
