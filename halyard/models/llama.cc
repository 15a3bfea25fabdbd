// Llama 1, 2 and 3, Mistral, SmolLM (Touvron et al. 2023; Jiang et al. 2023); Qwen 2 and 3 (Yang et al. 2024, 2025), whose
// layers are the same but for biases and norms of heads.
#include "halyard/models/families.h"

namespace halyard::models {
namespace {

/// What sets one of them apart from another.
struct Traits {
  AttentionParts attention = {};
  bool mlp_bias = false;
  bool head_norms = false;                ///< an RMS norm of every query and key head
  std::vector<std::size_t> windows = {};  ///< for each layer: positions that attention sees, 0: all
};

/// h += attend(norm(h)); h += feed_forward(norm(h))
class Llama final : public Decoder {
 public:
  Llama(DecoderConfig c, Traits t) : Decoder(std::move(c)), traits_(std::move(t)) {}

 private:
  struct Layer {
    Buffer input_norm, post_norm;
    SelfAttention attention;
    GatedMlp mlp;
  };

  Result<void> load_layer(Weights& w, std::size_t i, const std::string& p) override {
    if (i == 0) rope_ = HALYARD_TRY(load_rope(w, config.n_rot, config.rope_theta, config.rope_scaling));
    Layer l;
    l.input_norm = HALYARD_TRY(norm(w, p + "input_layernorm.weight", config.hidden_size));
    l.attention = HALYARD_TRY(load_attention(w, config, p + "self_attn.", traits_.attention));
    if (traits_.head_norms) {
      l.attention.q_norm = HALYARD_TRY(norm(w, p + "self_attn.q_norm.weight", config.head_dim));
      l.attention.k_norm = HALYARD_TRY(norm(w, p + "self_attn.k_norm.weight", config.head_dim));
    }
    l.post_norm = HALYARD_TRY(norm(w, p + "post_attention_layernorm.weight", config.hidden_size));
    l.mlp = HALYARD_TRY(load_gated_mlp(w, p + "mlp.", config.hidden_size, config.intermediate_size, traits_.mlp_bias));
    layers_.push_back(std::move(l));
    return {};
  }

  Value layer(Step& s, std::size_t i, Value h) const override {
    const Layer& l = layers_[i];
    h = s.add(h, attend(s, l.attention, config, i, rms_norm(s, h, l.input_norm), rope_,
                        {.scale = 0, .window = traits_.windows.empty() ? 0 : traits_.windows[i]}));
    return s.add(h, feed_forward(s, l.mlp, rms_norm(s, h, l.post_norm)));
  }

  Traits traits_;
  Rope rope_;
  std::vector<Layer> layers_;
};

/// The window counts only with use_sliding_window, and then, unless layer_types says otherwise, from max_window_layers on.
Result<std::vector<std::size_t>> qwen_windows(const ConfigView& c, const DecoderConfig& d) {
  const bool used = HALYARD_TRY(c.boolean_or("use_sliding_window", false));
  const std::int64_t first = HALYARD_TRY(c.integer_or("max_window_layers", 28, 0, INT32_MAX));
  std::vector<std::size_t> windows;
  for (std::size_t i = 0; i < d.num_hidden_layers; ++i) {
    const bool sliding = d.sliding_layers.empty() ? i >= static_cast<std::size_t>(first) : d.sliding_layers[i];
    windows.push_back(used && sliding ? d.sliding_window : 0);
  }
  return windows;
}

}  // namespace

Result<std::unique_ptr<Recipe>> make_llama(const ConfigView& c) {
  DecoderConfig d = HALYARD_TRY(parse_decoder_config(c, {}));
  Traits t{.attention = {d.attention_bias, d.attention_bias}, .mlp_bias = d.mlp_bias};
  return std::make_unique<Llama>(std::move(d), std::move(t));
}

/// Every layer attends to the last sliding_window positions, as in transformers; layer_types, where given, say which do.
Result<std::unique_ptr<Recipe>> make_mistral(const ConfigView& c) {
  DecoderConfig d = HALYARD_TRY(parse_decoder_config(c, {.max_position_embeddings = 131072, .sliding_window = 4096}));
  Traits t;
  for (std::size_t i = 0; i < d.num_hidden_layers; ++i)
    t.windows.push_back(d.sliding_layers.empty() || d.sliding_layers[i] ? d.sliding_window : 0);
  return std::make_unique<Llama>(std::move(d), std::move(t));
}

Result<std::unique_ptr<Recipe>> make_qwen2(const ConfigView& c) {
  DecoderConfig d = HALYARD_TRY(parse_decoder_config(c, {.max_position_embeddings = 32768, .sliding_window = 4096}));
  Traits t{.attention = {.qkv_bias = true}, .windows = HALYARD_TRY(qwen_windows(c, d))};
  return std::make_unique<Llama>(std::move(d), std::move(t));
}

Result<std::unique_ptr<Recipe>> make_qwen3(const ConfigView& c) {
  DecoderConfig d =
      HALYARD_TRY(parse_decoder_config(c, {.head_dim = 128, .max_position_embeddings = 32768, .sliding_window = 4096}));
  Traits t{.attention = {d.attention_bias, d.attention_bias},
           .head_norms = true,
           .windows = HALYARD_TRY(qwen_windows(c, d))};
  return std::make_unique<Llama>(std::move(d), std::move(t));
}

}  // namespace halyard::models
