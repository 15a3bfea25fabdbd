// The model that ships with the project against float64 transformers: goldens/default.
#include <cstdlib>

#include <gtest/gtest.h>

#include "halyard/base/file.h"
#include "halyard/base/json.h"
#include "halyard/engine/generator.h"
#include "halyard/engine/perplexity.h"
#include "halyard/testing/hidden_driver.h"
#include "halyard/testing/models.h"
#include "halyard/testing/paths.h"
#include "halyard/text/tokenizer.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;
using ops::Precision;

class DefaultModel : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef HALYARD_SANITIZED
    GTEST_SKIP() << "too much arithmetic for a sanitizer; the families take the same paths with small weights";
#endif
    if (golden("default/4bit.json").empty()) GTEST_SKIP() << "the golden default/4bit.json is not here";
    texts_ = expect(parse_json(expect(read_file(golden("default/4bit.json")))));
    if (!golden("default/4bit.safetensors").empty())
      logits_ = expect(SafeTensors::open(golden("default/4bit.safetensors")));
  }

  /// What we answer at the positions that the golden of text i has.
  std::vector<float> ours(const models::Model& model, const std::string& i) const {
    const std::size_t vocab = model.info().vocab_size;
    const std::vector<float> all = logits_of(model, values<std::int32_t>(*logits_, "tokens_" + i), 512);
    std::vector<float> chosen;
    for (const auto p : values<std::int32_t>(*logits_, "positions_" + i)) {
      const auto row = all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(p) * vocab);
      chosen.insert(chosen.end(), row, row + static_cast<std::ptrdiff_t>(vocab));
    }
    return chosen;
  }

  void expect_greedy(const models::Model& model, double least_margin) const {
    for (const Json& text : texts_) {
      const auto expected = text["greedy"].get<std::vector<std::int32_t>>();
      const auto margin = text["greedy_margin"].get<std::vector<double>>();
      const auto prompt = text["ids"].get<std::vector<std::int32_t>>();
      std::size_t sure = 0;
      while (sure < margin.size() && margin[sure] >= least_margin) ++sure;
      if (sure == 0) continue;
      const std::vector<std::int32_t> tokens = greedy(model, prompt, sure);
      EXPECT_EQ(tokens, std::vector(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(sure)))
          << text["text"].get<std::string>().substr(0, 40);
    }
  }

  Json texts_;
  std::optional<SafeTensors> logits_;
};

// Weights are copied, the logits read, by call: nothing on the way may want a pointer.
TEST_F(DefaultModel, WritesTheSameOnADeviceWhoseMemoryTheHostCannotSee) {
  const ModelDir dir = expect(ModelDir::open(default_model()));
  for (const Precision p : {Precision::fast, Precision::exact}) {
    const models::Model hidden = expect(models::Model::load(expect(open_hidden_device()), dir, p));
    EXPECT_FALSE(hidden.device().capabilities().host_visible);
    const models::Model here = load_model(default_model(), p);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto prompt = texts_[i]["ids"].get<std::vector<std::int32_t>>();
      EXPECT_EQ(greedy(hidden, prompt, 40), greedy(here, prompt, 40)) << i;
    }
  }
}

// Written by testdata/windows/make_windows.py: mlx-lm's tokens with --max-kv-size, for several sizes of the prefill step.
TEST_F(DefaultModel, AFullWindowGivesTheTextOfMlxLmWhateverThePrefillStep) {
  const auto path = source_dir() / "testdata" / "windows" / "windows.json";
  const Json file = expect(parse_json(expect(read_file(path.string()))));
  ASSERT_GT(file["cases"].size(), 20U);
  const models::Model model = load_model(default_model(), Precision::exact);
  for (const Json& c : file["cases"]) {
    const auto expected = c["ids"].get<std::vector<std::int32_t>>();
    Sequence s = expect(Sequence::make(model, {.max_kv_size = c["max_kv_size"].get<std::size_t>(),
                                               .prefill_step = c["prefill_step"].get<std::size_t>()}));
    std::vector<std::int32_t> tokens;
    GenerateCallbacks callbacks;
    callbacks.on_token = [&](std::int32_t token) -> Result<bool> {
      tokens.push_back(token);
      return true;
    };
    const auto prompt = c["prompt"].get<std::vector<std::int32_t>>();
    expect(generate(s, prompt, {.max_tokens = expected.size()}, callbacks));
    EXPECT_EQ(tokens, expected) << "size " << c["max_kv_size"] << ", step " << c["prefill_step"] << ", prompt of "
                                << prompt.size();
  }
}

TEST_F(DefaultModel, ExactLogitsAreThoseOfFloat64) {
  if (!logits_) GTEST_SKIP() << "the golden default/4bit.safetensors is not here";
  const models::Model model = load_model(default_model(), Precision::exact);
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    const std::string n = std::to_string(i);
    if (!logits_->find("exact_" + n)) continue;
    EXPECT_LE(max_difference(ours(model, n), values<float>(*logits_, "exact_" + n)), 0.005) << "text " << i;
  }
}

TEST_F(DefaultModel, ExactGreedyTextIsThatOfFloat64) {
  expect_greedy(load_model(default_model(), Precision::exact), 0.01);
}

TEST_F(DefaultModel, FastLogitsAreAboutAsCloseAsBf16) {
  if (!logits_) GTEST_SKIP() << "the golden default/4bit.safetensors is not here";
  const models::Model model = load_model(default_model(), Precision::fast);
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    const std::string n = std::to_string(i);
    if (!logits_->find("exact_" + n)) continue;
    const double kl = mean_kl(values<float>(*logits_, "exact_" + n), ours(model, n), model.info().vocab_size);
    EXPECT_LE(kl, 3 * texts_[i]["bf16_mean_kl"].get<double>()) << "text " << i;
  }
}

TEST_F(DefaultModel, FastGreedyTextIsThatOfFloat64) {
  expect_greedy(load_model(default_model(), Precision::fast), 0.5);
}

/// Our mean negative log-likelihood against the golden's, which it must be within `tolerance` of, relatively.
void expect_perplexity(Precision precision, double tolerance) {
  const Json golden_ppl = expect(parse_json(expect(read_file(golden("default/perplexity.json")))));
  const Tokenizer tokenizer = expect(Tokenizer::load(default_model() / "tokenizer.json"));
  const auto tokens = expect(tokenizer.encode(expect(read_file(golden("default/silverman.txt"))), true));
  Sequence sequence = expect(Sequence::make(load_model(default_model(), precision), {}));
  const Perplexity p = expect(perplexity(sequence, tokens, 512));
  EXPECT_EQ(p.tokens, golden_ppl["tokens"].get<std::size_t>());
  EXPECT_EQ(p.windows, golden_ppl["windows"].get<std::size_t>());
  const double nll = golden_ppl["f32_mean_nll"].get<double>();
  EXPECT_NEAR(p.mean_nll, nll, tolerance * nll);
}

TEST_F(DefaultModel, FastPerplexityIsWithinATenthOfAPercent) {
  if (golden("default/perplexity.json").empty()) GTEST_SKIP() << "the golden default/perplexity.json is not here";
  expect_perplexity(Precision::fast, 1e-3);
}

TEST_F(DefaultModel, ExactPerplexityIsWithinAThousandthOfAPercent) {
  if (golden("default/perplexity.json").empty()) GTEST_SKIP() << "the golden default/perplexity.json is not here";
  expect_perplexity(Precision::exact, 1e-5);
}

}  // namespace
}  // namespace halyard::engine
