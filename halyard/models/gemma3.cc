// Gemma 3, its text model (Gemma team 2025): norms before and behind each half of a layer, heads normed too, layers of a short
// window and of all positions with a rope each.
#include <cmath>

#include "halyard/base/float16.h"
#include "halyard/models/families.h"

namespace halyard::models {
namespace {

constexpr NumberRule kPositive{.min = 0, .max = 1e12, .above_min = true};

struct Traits {
  double local_theta = 10000;
  double query_scale = 256;  ///< scores are divided by its root
};

/// h = √hidden · embedding; h += norm(attend(norm(h))); h += norm(feed_forward(norm(h)))
class Gemma3 final : public Decoder {
 public:
  Gemma3(DecoderConfig c, Traits t) : Decoder(std::move(c)), traits_(t) {}

 private:
  struct Layer {
    Buffer input_norm, post_attention_norm, pre_feedforward_norm, post_feedforward_norm;
    SelfAttention attention;
    GatedMlp mlp;
  };

  /// Stored less one.
  Result<Buffer> norm(Weights& w, const std::string& name, std::size_t n) const override {
    return w.vector(name, n, [](float x) { return 1 + x; });
  }

  Result<void> load_layer(Weights& w, std::size_t i, const std::string& p) override {
    if (i == 0) {
      rope_ = HALYARD_TRY(load_rope(w, config.n_rot, config.rope_theta, config.rope_scaling));
      local_rope_ = HALYARD_TRY(load_rope(w, config.n_rot, traits_.local_theta, {}));
    }
    const std::size_t hidden = config.hidden_size;
    Layer l;
    l.input_norm = HALYARD_TRY(norm(w, p + "input_layernorm.weight", hidden));
    l.attention =
        HALYARD_TRY(load_attention(w, config, p + "self_attn.", {config.attention_bias, config.attention_bias}));
    l.attention.q_norm = HALYARD_TRY(norm(w, p + "self_attn.q_norm.weight", config.head_dim));
    l.attention.k_norm = HALYARD_TRY(norm(w, p + "self_attn.k_norm.weight", config.head_dim));
    l.post_attention_norm = HALYARD_TRY(norm(w, p + "post_attention_layernorm.weight", hidden));
    l.pre_feedforward_norm = HALYARD_TRY(norm(w, p + "pre_feedforward_layernorm.weight", hidden));
    l.mlp = HALYARD_TRY(load_gated_mlp(w, p + "mlp.", hidden, config.intermediate_size));
    l.mlp.gelu = ops::Gelu::tanh;
    l.post_feedforward_norm = HALYARD_TRY(norm(w, p + "post_feedforward_layernorm.weight", hidden));
    layers_.push_back(std::move(l));
    return {};
  }

  /// The root is rounded as the embedding's values are, as in transformers.
  Value embedded(Step& s) const override {
    const auto root = static_cast<float>(std::sqrt(static_cast<double>(config.hidden_size)));
    const DType stored = table().dtype();
    return s.scale(s.embed(table()), stored == DType::bf16  ? to_float(to_bf16(root))
                                     : stored == DType::f16 ? to_float(to_f16(root))
                                                            : root);
  }

  Value layer(Step& s, std::size_t i, Value h) const override {
    const Layer& l = layers_[i];
    const bool local = config.sliding_layers[i];
    const Value attended = attend(
        s, l.attention, config, i, rms_norm(s, h, l.input_norm), local ? local_rope_ : rope_,
        {.scale = static_cast<float>(1 / std::sqrt(traits_.query_scale)), .window = local ? config.sliding_window : 0});
    h = s.add(h, rms_norm(s, attended, l.post_attention_norm));
    const Value fed = feed_forward(s, l.mlp, rms_norm(s, h, l.pre_feedforward_norm));
    return s.add(h, rms_norm(s, fed, l.post_feedforward_norm));
  }

  Traits traits_;
  Rope rope_, local_rope_;
  std::vector<Layer> layers_;
};

}  // namespace

Result<std::unique_ptr<Recipe>> make_gemma3_text(const ConfigView& c) {
  DecoderConfig d = HALYARD_TRY(parse_decoder_config(c, {.head_dim = 256,
                                                         .max_position_embeddings = 131072,
                                                         .sliding_window = 4096,
                                                         .rope_theta = 1e6,
                                                         .activation_field = "hidden_activation",
                                                         .activation = "gelu_pytorch_tanh"}));
  for (const char* field : {"attn_logit_softcapping", "final_logit_softcapping"})
    if (c.has(field)) return c.error(field, "expected null: Gemma 3 has no such cap", Errc::unsupported);
  Traits t;
  t.local_theta = HALYARD_TRY(c.number_or("rope_local_base_freq", t.local_theta, kPositive));
  t.query_scale = HALYARD_TRY(c.number_or("query_pre_attn_scalar", t.query_scale, kPositive));
  if (!d.tie_word_embeddings) d.tie_word_embeddings = true;
  // Without layer_types every sixth layer, or as the pattern says, sees all positions.
  const std::int64_t pattern = HALYARD_TRY(c.integer_or("sliding_window_pattern", 6, 1, INT32_MAX));
  for (std::size_t i = d.sliding_layers.size(); i < d.num_hidden_layers; ++i)
    d.sliding_layers.push_back((i + 1) % static_cast<std::size_t>(pattern) != 0);
  return std::make_unique<Gemma3>(std::move(d), t);
}

}  // namespace halyard::models
