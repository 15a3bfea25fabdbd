// The families against the logits of their judges: goldens/families.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "halyard/engine/sequence.h"
#include "halyard/io/safetensors.h"
#include "halyard/testing/models.h"
#include "halyard/testing/paths.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;
using ops::Precision;

class Family : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = golden(std::string("families/") + GetParam());
    if (folder_.empty()) GTEST_SKIP() << "the golden families/" << GetParam() << " is not here";
    auto golden = SafeTensors::open(folder_ / "golden.safetensors");
    ASSERT_TRUE(golden) << golden.error().str();
    golden_ = std::move(*golden);
  }

  models::Model load(Precision precision, int threads = 2) const { return load_model(folder_, precision, threads); }
  template <class T> std::vector<T> expected(const std::string& name) const { return values<T>(*golden_, name); }

  std::filesystem::path folder_;
  std::optional<SafeTensors> golden_;
};

TEST_P(Family, ExactLogitsAreTheJudgesHoweverThePromptIsCut) {
  const models::Model model = load(Precision::exact);
  for (const std::string i : {"0", "1"}) {
    const auto tokens = expected<std::int32_t>("tokens_" + i);
    const auto judged = expected<float>("logits_" + i);
    const double tolerance = 0.002 * standard_deviation(judged);
    const std::vector<float> whole = logits_of(model, tokens, tokens.size());
    EXPECT_LE(max_difference(whole, judged), tolerance) << "prompt " << i;
    EXPECT_EQ(logits_of(model, tokens, 5), whole) << "in chunks of 5, prompt " << i;
    EXPECT_EQ(logits_of(model, tokens, 1), whole) << "token by token, prompt " << i;
  }
}

TEST_P(Family, ExactGreedyTokensAreTheJudges) {
  const models::Model model = load(Precision::exact);
  const auto judged = expected<std::int32_t>("greedy_1");
  const auto margin = expected<float>("greedy_margin_1");
  const std::vector<std::int32_t> ours = greedy(model, expected<std::int32_t>("tokens_1"), judged.size());
  for (std::size_t i = 0; i < judged.size() && margin[i] >= 0.01F; ++i) ASSERT_EQ(ours[i], judged[i]) << "step " << i;
}

TEST_P(Family, FastLogitsAreCloseHoweverThePromptIsCut) {
  const models::Model model = load(Precision::fast);
  for (const std::string i : {"0", "1"}) {
    const auto tokens = expected<std::int32_t>("tokens_" + i);
    const auto judged = expected<float>("logits_" + i);
    for (const std::size_t chunk : {tokens.size(), std::size_t{5}, std::size_t{1}}) {
      EXPECT_LE(mean_kl(judged, logits_of(model, tokens, chunk), model.info().vocab_size), 0.01)
          << "prompt " << i << " in chunks of " << chunk;
    }
  }
}

TEST_P(Family, LogitsAreTheSameForAnyNumberOfThreadsWithAndWithoutSessions) {
  const auto tokens = expected<std::int32_t>("tokens_0");
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const std::vector<float> one = logits_of(load(precision, 1), tokens, 7);
    EXPECT_EQ(logits_of(load(precision, 2), tokens, 7), one);
    EXPECT_EQ(logits_of(load(precision, 5), tokens, 7), one);
    EXPECT_EQ(logits_of(load(precision, 2), tokens, 7, /*use_session=*/false), one);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, Family,
                         ::testing::Values("llama", "llama2", "llama-affine4-g32", "mistral", "qwen2", "qwen3",
                                           "qwen3-affine4-g32", "qwen3-affine4-g64", "qwen3-affine4-g128",
                                           "qwen3-affine8-g64"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halyard::engine
