#include "halyard/models/decoder.h"

#include <cmath>

#include <fmt/format.h>

namespace halyard::models {

Decoder::Decoder(DecoderConfig c)
    : Decoder(c, std::vector<LayerSpec>(c.num_hidden_layers, {c.num_key_value_heads, c.head_dim})) {}

Decoder::Decoder(DecoderConfig c, std::vector<LayerSpec> layers, DecoderNames names)
    : config(std::move(c)),
      names_(std::move(names)),
      info_{config.model_type, config.vocab_size, config.hidden_size, config.max_position_embeddings,
            std::move(layers)},
      eps_(static_cast<float>(config.rms_norm_eps)) {}

Result<void> Decoder::load(Weights& w) {
  const std::size_t vocab = config.vocab_size, hidden = config.hidden_size;
  const bool tied = config.tie_word_embeddings.value_or(!w.has(names_.head + ".weight"));
  if (tied) head_ = HALYARD_TRY(w.linear(names_.embedding, vocab, hidden));
  embedding_ = tied ? head_.weight : HALYARD_TRY(w.table(names_.embedding, vocab, hidden));
  for (std::size_t i = 0; i < config.num_hidden_layers; ++i)
    HALYARD_TRY(load_layer(w, i, fmt::format("{}{}.", names_.layers, i)));
  norm_ = HALYARD_TRY(norm(w, names_.norm, hidden));
  if (!tied) head_ = HALYARD_TRY(w.linear(names_.head, vocab, hidden));
  return {};
}

void Decoder::record(Step& s) const {
  Value h = embedded(s);
  for (std::size_t i = 0; i < config.num_hidden_layers; ++i) h = layer(s, i, h);
  s.logits(rms_norm(s, s.wanted(h), norm_), head_);
}

Result<Rope> load_rope(Weights& w, std::size_t n_rot, double theta, const ops::RopeScaling& scaling) {
  const ops::RopeFrequencies f = ops::rope_frequencies(n_rot, theta, scaling);
  Rope rope{.inv_freq = {}, .attention_factor = static_cast<float>(f.attention_factor)};
  if (!w.device()) return rope;
  rope.inv_freq = HALYARD_TRY(Device(*w.device()).alloc(DType::f64, {f.inv_freq.size()}));
  HALYARD_TRY(rope.inv_freq.write<double>(f.inv_freq));
  return rope;
}

Result<SelfAttention> load_attention(Weights& w, const DecoderConfig& c, const std::string& prefix,
                                     const AttentionParts& parts) {
  const std::size_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  SelfAttention a;
  a.q = HALYARD_TRY(w.linear(prefix + "q_proj", q, c.hidden_size, parts.qkv_bias));
  a.k = HALYARD_TRY(w.linear(prefix + "k_proj", kv, c.hidden_size, parts.qkv_bias));
  a.v = HALYARD_TRY(w.linear(prefix + "v_proj", kv, c.hidden_size, parts.qkv_bias));
  a.o = HALYARD_TRY(w.linear(prefix + "o_proj", c.hidden_size, q, parts.o_bias));
  return a;
}

Value attend(Step& s, const SelfAttention& a, const DecoderConfig& c, std::size_t layer, const Value& x,
             const Rope& rope, ops::AttentionOptions options) {
  const auto eps = static_cast<float>(c.rms_norm_eps);
  Value q = s.multiply(s.asked(layer, x), a.q), k = s.multiply(x, a.k);
  const Value v = s.multiply(x, a.v);
  if (a.q_norm) q = s.rms_norm(q, a.q_norm, eps);
  if (a.k_norm) k = s.rms_norm(k, a.k_norm, eps);
  q = s.rope(q, c.head_dim, rope);
  k = s.rope(k, c.head_dim, rope);
  if (options.scale == 0) options.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim)));
  return s.multiply(s.attention(layer, q, k, v, options), a.o);
}

Result<GatedMlp> load_gated_mlp(Weights& w, const std::string& prefix, std::size_t hidden, std::size_t intermediate,
                                bool bias) {
  GatedMlp m;
  m.gate = HALYARD_TRY(w.linear(prefix + "gate_proj", intermediate, hidden, bias));
  m.up = HALYARD_TRY(w.linear(prefix + "up_proj", intermediate, hidden, bias));
  m.down = HALYARD_TRY(w.linear(prefix + "down_proj", hidden, intermediate, bias));
  return m;
}

Value feed_forward(Step& s, const GatedMlp& m, const Value& x) {
  const Value gate = s.multiply(x, m.gate), up = s.multiply(x, m.up);
  return s.multiply(m.gelu ? s.gelu_mul(gate, up, *m.gelu) : s.silu_mul(gate, up), m.down);
}

}  // namespace halyard::models
