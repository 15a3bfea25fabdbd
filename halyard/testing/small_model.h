// A model that runs in microseconds.
#pragma once

#include <cstring>
#include <limits>

#include "halyard/base/float16.h"
#include "halyard/models/model.h"
#include "halyard/models/synthetic.h"
#include "halyard/testing/models.h"

namespace halyard::testing {

inline constexpr std::size_t kSmallVocab = 97;
/// A token after which no logits of a text are finite.
inline constexpr std::int32_t kPoison = 96;

/// Synthetic weights, but the embedding of kPoison is infinite.
class PoisonedWeights final : public models::WeightSource {
 public:
  Result<quant::MatrixView> matrix(const std::string& name, std::size_t n, std::size_t k) override {
    quant::MatrixView view = HALYARD_TRY(weights_.matrix(name, n, k));
    if (name != "model.embed_tokens") return view;
    auto scales = std::make_shared<std::vector<std::byte>>(view.scales.begin(), view.scales.end());
    const bf16 infinite = to_bf16(std::numeric_limits<float>::infinity());
    const std::size_t row = scales->size() / n;
    for (std::size_t i = 0; i < row; i += sizeof(bf16)) std::memcpy(&(*scales)[kPoison * row + i], &infinite, sizeof(bf16));
    view.scales = *scales;
    view.owner = std::make_shared<std::pair<decltype(view.owner), decltype(scales)>>(view.owner, scales);
    return view;
  }
  Result<models::VectorData> values(const std::string& name, std::span<const Shape> shapes) override {
    return weights_.values(name, shapes);
  }
  std::size_t total_bytes() const override { return 0; }

 private:
  models::SyntheticWeights weights_{expect(models::synthetic_format("q4"))};
};

/// Two layers of width 64, a context of 400; "mistral" sees a window of 90 positions.
inline models::Model small_model(Device device, const char* type = "qwen3",
                                 ops::Precision precision = ops::Precision::fast) {
  const Json config = {{"model_type", type},          {"hidden_size", 64},        {"num_hidden_layers", 2},
                       {"num_attention_heads", 4},    {"num_key_value_heads", 2}, {"head_dim", 16},
                       {"intermediate_size", 128},    {"vocab_size", kSmallVocab}, {"tie_word_embeddings", false},
                       {"max_position_embeddings", 400}, {"sliding_window", 90},  {"rms_norm_eps", 1e-6}};
  PoisonedWeights weights;
  return expect(models::Model::load(std::move(device), ConfigView(config, "config"), weights, precision));
}

}  // namespace halyard::testing
