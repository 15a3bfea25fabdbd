// A model that runs in microseconds.
#pragma once

#include <cstring>
#include <limits>

#include "halyard/base/float16.h"
#include "halyard/io/config.h"
#include "halyard/models/decoder.h"
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
    if (name.find("embed") == std::string::npos) return view;
    auto scales = std::make_shared<std::vector<std::byte>>(view.scales.begin(), view.scales.end());
    const bf16 infinite = to_bf16(std::numeric_limits<float>::infinity());
    const std::size_t row = scales->size() / n;
    for (std::size_t i = 0; i < row; i += sizeof(bf16))
      std::memcpy(&(*scales)[kPoison * row + i], &infinite, sizeof(bf16));
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

/// A layer that attends and one that keeps a convolution's inputs and a state, by turns.
class SmallHybrid final : public models::Decoder {
 public:
  explicit SmallHybrid(models::DecoderConfig c)
      : Decoder(std::move(c),
                {{.kv_heads = 2, .head_dim = 16}, {.slot = {{kTaps - 1, kChannels}, {kHeads, kHeadDim, kState}}}}) {}

 private:
  static constexpr std::size_t kTaps = 4, kHeads = 4, kHeadDim = 16, kState = 8,
                               kChannels = kHeads * kHeadDim + 2 * kState;

  Result<void> load_layer(models::Weights& w, std::size_t i, const std::string& p) override {
    const std::size_t hidden = config.hidden_size;
    if (i == 0) {
      rope_ = HALYARD_TRY(models::load_rope(w, config.n_rot, config.rope_theta, {}));
      attention_ = HALYARD_TRY(models::load_attention(w, config, p, {}));
      return {};
    }
    x_ = HALYARD_TRY(w.linear(p + "x", kChannels, hidden));
    dt_ = HALYARD_TRY(w.linear(p + "dt", kHeads, hidden));
    out_ = HALYARD_TRY(w.linear(p + "out", hidden, kHeads * kHeadDim));
    std::vector<float> taps;
    for (std::size_t j = 0; j < kTaps * kChannels; ++j) taps.push_back(static_cast<float>(j % 7) / 4 - 0.7F);
    taps_ = HALYARD_TRY(w.upload(taps, {kTaps, kChannels}));
    a_ = HALYARD_TRY(w.upload(std::vector{-0.01F, -0.1F, -0.3F, -1.0F}, {kHeads}));
    d_ = HALYARD_TRY(w.vector(p + "d", kHeads));
    return {};
  }
  models::Value layer(models::Step& s, std::size_t i, models::Value h) const override {
    if (i == 0) return s.add(h, models::attend(s, attention_, config, i, h, rope_, {.scale = 0}));
    const models::Value mixed = s.causal_conv(i, 0, s.multiply(h, x_), taps_, {});
    const models::Value y = s.ssd(i, 1, mixed, s.multiply(h, dt_), a_, d_, d_, {1, 0, 100});
    return s.add(h, s.multiply(s.asked(i, y), out_));
  }

  models::Rope rope_;
  models::SelfAttention attention_;
  models::Linear x_, dt_, out_;
  Buffer taps_, a_, d_;
};

inline constexpr const char* kSmallModels[] = {"qwen3", "mistral", "mamba2", "hybrid"};
/// Two layers of width 64, a context of 400; for "mistral" a window of 90 positions.
inline Json small_config(std::string_view type) {
  return Json::object({{"model_type", type},
                       {"hidden_size", 64},
                       {"num_hidden_layers", 2},
                       {"num_attention_heads", 4},
                       {"num_key_value_heads", 2},
                       {"head_dim", 16},
                       {"intermediate_size", 128},
                       {"vocab_size", kSmallVocab},
                       {"tie_word_embeddings", false},
                       {"max_position_embeddings", 400},
                       {"sliding_window", 90},
                       {"rms_norm_eps", 1e-6},
                       {"num_heads", 4},
                       {"n_groups", 2},
                       {"state_size", 8},
                       {"use_conv_bias", type == "mamba2"}});
}

/// Of small_config: "mamba2" keeps slots and has no limit, "hybrid" is SmallHybrid.
inline models::Model small_model(Device device, std::string_view type = "qwen3",
                                 ops::Precision precision = ops::Precision::fast) {
  const bool hybrid = type == "hybrid";
  const Json config = small_config(hybrid ? "llama" : type);
  const ConfigView view(config, "config");
  PoisonedWeights weights;
  if (!hybrid) return expect(models::Model::load(std::move(device), view, weights, precision));
  auto recipe = std::make_unique<SmallHybrid>(expect(models::parse_decoder_config(view, {})));
  return expect(models::Model::load(std::move(device), std::move(recipe), weights, precision));
}

}  // namespace halyard::testing
