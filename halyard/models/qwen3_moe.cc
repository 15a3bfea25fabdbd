// Qwen 3 with experts (Yang et al. 2025): Qwen 3's attention, and in most layers a mixture of small feed-forward blocks.
#include <algorithm>

#include "halyard/models/families.h"

namespace halyard::models {
namespace {

struct Traits {
  std::size_t experts = 0, chosen = 0, intermediate = 0;
  bool normalise = false;
  std::vector<bool> sparse;  ///< for each layer: whether it has experts
};

/// h += attend(norm(h)); h += mixture(norm(h)), or feed_forward
class Qwen3Moe final : public Decoder {
 public:
  Qwen3Moe(DecoderConfig c, Traits t) : Decoder(std::move(c)), traits_(std::move(t)) {}

 private:
  struct Layer {
    Buffer input_norm, post_norm;
    SelfAttention attention;
    GatedMlp mlp;   // where the layer is dense
    Linear router;  // else
    Experts experts;
  };

  Result<void> load_layer(Weights& w, std::size_t i, const std::string& p) override {
    if (i == 0) rope_ = HALYARD_TRY(load_rope(w, config.n_rot, config.rope_theta, config.rope_scaling));
    const std::size_t hidden = config.hidden_size;
    Layer l;
    l.input_norm = HALYARD_TRY(norm(w, p + "input_layernorm.weight", hidden));
    l.attention =
        HALYARD_TRY(load_attention(w, config, p + "self_attn.", {config.attention_bias, config.attention_bias}));
    l.attention.q_norm = HALYARD_TRY(norm(w, p + "self_attn.q_norm.weight", config.head_dim));
    l.attention.k_norm = HALYARD_TRY(norm(w, p + "self_attn.k_norm.weight", config.head_dim));
    l.post_norm = HALYARD_TRY(norm(w, p + "post_attention_layernorm.weight", hidden));
    if (traits_.sparse[i]) {
      const auto experts = [&](const char* name, std::size_t n, std::size_t k) {
        return w.experts(p + "mlp.", name, traits_.experts, traits_.chosen, n, k);
      };
      l.router = HALYARD_TRY(w.linear(p + "mlp.gate", traits_.experts, hidden));
      l.experts.gate = HALYARD_TRY(experts("gate_proj", traits_.intermediate, hidden));
      l.experts.up = HALYARD_TRY(experts("up_proj", traits_.intermediate, hidden));
      l.experts.down = HALYARD_TRY(experts("down_proj", hidden, traits_.intermediate));
    } else {
      l.mlp = HALYARD_TRY(load_gated_mlp(w, p + "mlp.", hidden, config.intermediate_size));
    }
    layers_.push_back(std::move(l));
    return {};
  }

  Value layer(Step& s, std::size_t i, Value h) const override {
    const Layer& l = layers_[i];
    h = s.add(h, attend(s, l.attention, config, i, rms_norm(s, h, l.input_norm), rope_, {.scale = 0}));
    const Value x = rms_norm(s, h, l.post_norm);
    return s.add(h, traits_.sparse[i] ? s.mixture(x, l.router, l.experts, traits_.chosen, traits_.normalise)
                                      : feed_forward(s, l.mlp, x));
  }

  Traits traits_;
  Rope rope_;
  std::vector<Layer> layers_;
};

}  // namespace

Result<std::unique_ptr<Recipe>> make_qwen3_moe(const ConfigView& c) {
  DecoderConfig d = HALYARD_TRY(parse_decoder_config(c, {.max_position_embeddings = 32768, .sliding_window = 4096}));
  if (HALYARD_TRY(c.boolean_or("use_sliding_window", false)))
    return c.error("use_sliding_window", "expected false: Qwen 3 with experts has no windows here", Errc::unsupported);
  const auto size = [&](const char* field, std::int64_t absent, std::int64_t most) -> Result<std::size_t> {
    return static_cast<std::size_t>(HALYARD_TRY(c.integer_or(field, absent, 1, most)));
  };
  Traits t;
  t.experts = HALYARD_TRY(size("num_experts", 128, 4096));
  t.chosen = HALYARD_TRY(size("num_experts_per_tok", 8, static_cast<std::int64_t>(t.experts)));
  t.intermediate = HALYARD_TRY(size("moe_intermediate_size", 768, 1 << 24));
  t.normalise = HALYARD_TRY(c.boolean_or("norm_topk_prob", false));
  const std::size_t every = HALYARD_TRY(size("decoder_sparse_step", 1, INT32_MAX));
  std::vector<std::int64_t> dense;
  if (c.has("mlp_only_layers")) dense = HALYARD_TRY(c.integers("mlp_only_layers", 0, INT32_MAX));
  for (std::size_t i = 0; i < d.num_hidden_layers; ++i)
    t.sparse.push_back((i + 1) % every == 0 &&
                       std::find(dense.begin(), dense.end(), static_cast<std::int64_t>(i)) == dense.end());
  return std::make_unique<Qwen3Moe>(std::move(d), std::move(t));
}

}  // namespace halyard::models
