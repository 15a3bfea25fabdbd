// What nearly all decoders have in common: what stands around their layers, and two blocks that most layers are made of.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "halyard/models/config.h"
#include "halyard/models/model.h"

namespace halyard::models {

/// Where a decoder's weights stand.
struct DecoderNames {
  std::string embedding = "model.embed_tokens", layers = "model.layers.", norm = "model.norm.weight", head = "lm_head";
};

/// h = embedding[tokens]; h = layer_i(h) …; logits = head(rms_norm(h)). A family derives from it and says what a layer is.
class Decoder : public Recipe {
 public:
  const ModelInfo& info() const final { return info_; }
  Result<void> load(Weights&) final;
  void record(Step&) const final;

 protected:
  /// Every layer keeps keys and values.
  explicit Decoder(DecoderConfig);
  Decoder(DecoderConfig, std::vector<LayerSpec>, DecoderNames = {});
  /// Called for each layer in turn. `prefix`: "model.layers.N."
  virtual Result<void> load_layer(Weights&, std::size_t layer, const std::string& prefix) = 0;
  virtual Value layer(Step&, std::size_t layer, Value h) const = 0;
  /// A norm's weights.
  virtual Result<Buffer> norm(Weights& w, const std::string& name, std::size_t n) const { return w.vector(name, n); }
  virtual Value embedded(Step& s) const { return s.embed(embedding_); }

  Value rms_norm(Step& s, const Value& x, const Buffer& weight) const { return s.rms_norm(x, weight, eps_); }
  const DecoderConfig config;

 private:
  DecoderNames names_;
  ModelInfo info_;
  float eps_;
  ops::Weight embedding_;
  Buffer norm_;
  Linear head_;

 protected:
  const ops::Weight& table() const { return embedding_; }
};

/// The frequencies on the device; null without one.
Result<Rope> load_rope(Weights&, std::size_t n_rot, double theta, const ops::RopeScaling&);

/// attention(rope(norm(q)), rope(norm(k)), v) · o
struct SelfAttention {
  Linear q, k, v, o;      // [heads · head_dim, hidden] …
  Buffer q_norm, k_norm;  // f32 [head_dim], or null: no such norm
};
struct AttentionParts {
  bool qkv_bias = false, o_bias = false;
};
/// Under prefix: q_proj, k_proj, v_proj, o_proj.
Result<SelfAttention> load_attention(Weights&, const DecoderConfig&, const std::string& prefix, const AttentionParts&);
/// Of the layer's input x. A scale of 0 is 1/√head_dim; eps: of the heads' norms.
Value attend(Step&, const SelfAttention&, const DecoderConfig&, std::size_t layer, const Value& x, const Rope&,
             ops::AttentionOptions);

/// down(silu(gate(x)) · up(x)); with `gelu` that in silu's place.
struct GatedMlp {
  Linear gate, up, down;  // [intermediate, hidden] …
  std::optional<ops::Gelu> gelu = {};
};
/// Under prefix: gate_proj, up_proj, down_proj.
Result<GatedMlp> load_gated_mlp(Weights&, const std::string& prefix, std::size_t hidden, std::size_t intermediate,
                                bool bias = false);
Value feed_forward(Step&, const GatedMlp&, const Value& x);

}  // namespace halyard::models
