#include "halyard/models/config.h"

#include <gtest/gtest.h>

#include "halyard/models/registry.h"
#include "halyard/models/synthetic.h"

namespace halyard::models {
namespace {

using Kind = ops::RopeScaling::Kind;

const Json kBase = Json::object({{"model_type", "llama"},
                                 {"hidden_size", 64},
                                 {"num_hidden_layers", 3},
                                 {"num_attention_heads", 4},
                                 {"num_key_value_heads", 2},
                                 {"intermediate_size", 80},
                                 {"vocab_size", 100}});

Json with(std::initializer_list<Json::Pair> changes, Json base = kBase) {
  for (const auto& [name, value] : changes) base[name] = value;
  return base;
}

DecoderConfig parse(const Json& json, const ConfigDefaults& defaults = {}) {
  auto parsed = parse_decoder_config(ConfigView(json, "config.json"), defaults);
  if (!parsed) throw std::runtime_error(parsed.error().str());
  return std::move(*parsed);
}

std::string failure(const Json& json) {
  const auto parsed = parse_decoder_config(ConfigView(json, "config.json"), {});
  return parsed ? "accepted" : parsed.error().str();
}

TEST(DecoderConfig, TakesDefaultsForWhatIsAbsentOrNull) {
  const DecoderConfig d = parse(with({{"rope_scaling", nullptr}, {"num_key_value_heads", nullptr}}));
  EXPECT_EQ(d.num_key_value_heads, 4U);
  EXPECT_EQ(d.head_dim, 16U);
  EXPECT_EQ(d.n_rot, 16U);
  EXPECT_EQ(d.rope_theta, 10000);
  EXPECT_EQ(d.rope_scaling.kind, Kind::none);
  EXPECT_EQ(d.max_position_embeddings, 2048U);
  EXPECT_EQ(d.tie_word_embeddings, std::nullopt);
  EXPECT_EQ(d.sliding_window, 0U);
}

TEST(DecoderConfig, AFamilysDefaultWindowStandsWhereTheFieldIsAbsentButNotWhereItIsNull) {
  const ConfigDefaults mistral{.sliding_window = 4096};
  EXPECT_EQ(parse(kBase, mistral).sliding_window, 4096U);
  EXPECT_EQ(parse(with({{"sliding_window", nullptr}}), mistral).sliding_window, 0U);
  EXPECT_EQ(parse(with({{"sliding_window", 16}}), mistral).sliding_window, 16U);
}

TEST(DecoderConfig, ReadsBothFormsOfRope) {
  const Json scaling = Json::object({{"type", "linear"}, {"factor", 4}});
  const DecoderConfig top = parse(with({{"rope_theta", 5e5}, {"rope_scaling", scaling}}));
  EXPECT_EQ(top.rope_theta, 5e5);
  EXPECT_EQ(top.rope_scaling.kind, Kind::linear);
  EXPECT_EQ(top.rope_scaling.factor, 4);
  const Json parameters = Json::object({{"rope_type", "llama3"},
                                        {"rope_theta", 1e6},
                                        {"factor", 8.0},
                                        {"low_freq_factor", 1},
                                        {"high_freq_factor", 4},
                                        {"original_max_position_embeddings", 32}});
  const DecoderConfig together = parse(with({{"rope_parameters", parameters}}));
  EXPECT_EQ(together.rope_theta, 1e6);
  EXPECT_EQ(together.rope_scaling.kind, Kind::llama3);
  EXPECT_EQ(together.rope_scaling.original_max_position_embeddings, 32);
}

TEST(DecoderConfig, YarnTakesTheContextForTheOriginalOne) {
  const Json yarn = Json::object({{"rope_type", "yarn"}, {"factor", 4.0}, {"truncate", false}, {"beta_fast", 16}});
  const DecoderConfig d = parse(with({{"rope_scaling", yarn}, {"max_position_embeddings", 512}}));
  EXPECT_EQ(d.rope_scaling.kind, Kind::yarn);
  EXPECT_EQ(d.rope_scaling.original_max_position_embeddings, 512);
  EXPECT_EQ(d.rope_scaling.beta_fast, 16);
  EXPECT_EQ(d.rope_scaling.beta_slow, 1);
  EXPECT_FALSE(d.rope_scaling.truncate);
  EXPECT_EQ(d.max_position_embeddings, 2048);
}

// transformers: a factor of x lets the model handle x * original_max_position_embeddings. Qwen2.5 and Qwen3 keep the
// original length in max_position_embeddings; others write the stretched one there.
TEST(DecoderConfig, YarnStretchesTheContext) {
  const Json yarn = Json::object({{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 512}});
  EXPECT_EQ(parse(with({{"rope_scaling", yarn}, {"max_position_embeddings", 512}})).max_position_embeddings, 2048);
  EXPECT_EQ(parse(with({{"rope_scaling", yarn}, {"max_position_embeddings", 2048}})).max_position_embeddings, 2048);
  EXPECT_EQ(parse(with({{"rope_scaling", yarn}, {"max_position_embeddings", 8192}})).max_position_embeddings, 8192);
  const Json linear = Json::object({{"type", "linear"}, {"factor", 4.0}});
  EXPECT_EQ(parse(with({{"rope_scaling", linear}, {"max_position_embeddings", 512}})).max_position_embeddings, 512);
}

TEST(DecoderConfig, RefusesWhatDoesNotFitNamingTheField) {
  const struct {
    Json json;
    const char* named;
  } cases[] = {
      {with({{"hidden_size", 0}}), "hidden_size"},
      {with({{"hidden_size", 62}}), "hidden_size"},  // 62 / 4 heads
      {with({{"num_attention_heads", 3}, {"head_dim", 16}}), "num_attention_heads"},
      {with({{"head_dim", 15}}), "head_dim"},
      {with({{"head_dim", 258}}), "head_dim"},
      {with({{"hidden_act", "gelu"}}), "hidden_act"},
      {with({{"rms_norm_eps", -1}}), "rms_norm_eps"},
      {with({{"rope_theta", 0}}), "rope_theta"},
      {with({{"rope_scaling", Json::object({{"rope_type", "spiral"}, {"factor", 2}})}}), "spiral"},
      {with({{"rope_scaling", Json::object({{"rope_type", "llama3"}, {"factor", 2}})}}), "low_freq_factor"},
      {with({{"rope_scaling", Json::object({{"rope_type", "yarn"}, {"factor", 0}})}}), "rope_scaling.factor"},
      {with({{"rope_parameters", Json::object({{"rope_type", "spiral"}})}}), "spiral"},
      {with({{"partial_rotary_factor", 0.01}}), "partial_rotary_factor"},
      {with({{"layer_types", Json::array({"full_attention"})}}), "layer_types"},
      {with({{"layer_types", Json::array({"full_attention", "mamba", "full_attention"})}}), "mamba"},
      {with({{"sliding_window", 0}}), "sliding_window"},
      {with({{"max_position_embeddings", -1}}), "max_position_embeddings"},
  };
  for (const auto& c : cases) {
    const std::string message = failure(c.json);
    EXPECT_NE(message.find("config.json"), std::string::npos) << message;
    EXPECT_NE(message.find(c.named), std::string::npos) << message << " should name " << c.named;
  }
}

TEST(Registry, KnowsItsFamiliesAndNamesThemWhereItDoesNot) {
  const struct {
    const char* model_type;
    std::size_t head_dim;  // where the config does not say; 0: no attention
  } cases[] = {{"gemma3_text", 256}, {"llama", 16},  {"mamba2", 0},    {"mistral", 16},
               {"qwen2", 16},        {"qwen3", 128}, {"qwen3_moe", 16}};
  EXPECT_EQ(std::size(cases), known_model_types().size());
  for (const auto& c : cases) {
    Json json = with({{"model_type", c.model_type}});
    if (c.head_dim == 0) json = with({{"num_heads", 4}, {"head_dim", 24}, {"n_groups", 2}, {"state_size", 8}}, json);
    const auto recipe = make_recipe(ConfigView(json, "config.json"));
    ASSERT_TRUE(recipe) << recipe.error().str();
    EXPECT_EQ((*recipe)->info().model_type, c.model_type);
    ASSERT_EQ((*recipe)->info().layers.size(), 3U);
    EXPECT_EQ((*recipe)->info().layers[0].head_dim, c.head_dim) << c.model_type;
  }
  const Json json = with({{"model_type", "qwen99"}});
  const auto unknown = make_recipe(ConfigView(json, "config.json"));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::unsupported);
  EXPECT_NE(unknown.error().message.find("qwen99"), std::string::npos);
  EXPECT_NE(unknown.error().message.find("mistral"), std::string::npos);
}

TEST(Synthetic, EveryShapeHasARecipeAndTheParametersOfItsName) {
  const struct {
    const char* shape;
    double parameters;  // as the models' cards say
  } cases[] = {{"llama-3.2-1b", 1.236e9},
               {"llama-3.2-3b", 3.213e9},
               {"llama-3.1-8b", 8.030e9},
               {"qwen3-0.6b", 0.596e9},
               {"gutenberg-29m", 29.37e6}};
  for (const auto& c : cases) {
    const auto json = synthetic_config(c.shape);
    ASSERT_TRUE(json);
    const auto recipe = make_recipe(ConfigView(*json, "config"));
    ASSERT_TRUE(recipe) << recipe.error().str();

    /// Answers with shapes alone.
    struct Shapes final : WeightSource {
      Result<quant::MatrixView> matrix(const std::string& name, std::size_t n, std::size_t k) override {
        quant::MatrixView view;
        view.name = name;
        view.n = n;
        view.k = k;
        return view;
      }
      Result<VectorData> values(const std::string&, std::span<const Shape> shapes) override {
        const std::size_t n = shapes.front().elements();
        return VectorData{std::vector<float>(n), n * 2};
      }
      std::size_t total_bytes() const override { return 0; }
    } shapes;
    Weights weights(shapes, std::nullopt, ops::Precision::fast);
    ASSERT_TRUE((*recipe)->load(weights));
    EXPECT_NEAR(static_cast<double>(weights.totals().parameters), c.parameters, 0.001 * c.parameters) << c.shape;
  }
  EXPECT_FALSE(synthetic_config("gpt-99"));
  EXPECT_FALSE(synthetic_format("q5"));
}

}  // namespace
}  // namespace halyard::models
