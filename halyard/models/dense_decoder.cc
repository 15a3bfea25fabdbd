#include "halyard/models/dense_decoder.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include <fmt/format.h>

#include "halyard/ops/ops.h"

namespace halyard::models {
namespace {

struct Layer {
  Buffer input_norm, post_norm;  // f32 [hidden]
  Buffer q_norm, k_norm;         // f32 [head_dim], or null
  Linear q, k, v, o;             // [heads · head_dim, hidden] …
  Linear gate, up, down;         // [intermediate, hidden] …
};

/// The buffers of one chunk length. T is the chunk's length.
struct Buffers {
  Buffer h;            // f32 [T, hidden]: the residual stream
  Buffer x;            // f32 [T, hidden]: its norm
  Buffer q, attended;  // f32 [T, heads · head_dim]
  Buffer k, v;         // f32 [T, kv_heads · head_dim]
  Buffer gate, up;     // f32 [T, intermediate]
  Buffer angles;       // f32 [T, n_rot / 2, 2]
  Buffer packed;       // u8, room for the packed form of the widest input
};

class DenseWorkspace final : public Workspace {
 public:
  static Result<std::unique_ptr<DenseWorkspace>> make(Device device, const DenseDecoderSpec& s, std::size_t max_chunk) {
    auto w = std::unique_ptr<DenseWorkspace>(new DenseWorkspace(s));
    const std::size_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    const auto rows = [&](std::size_t columns) { return device.alloc(DType::f32, {max_chunk, columns}); };
    Buffers& a = w->all_;
    a.h = HALYARD_TRY(rows(s.hidden));
    a.x = HALYARD_TRY(rows(s.hidden));
    a.q = HALYARD_TRY(rows(q));
    a.attended = HALYARD_TRY(rows(q));
    a.k = HALYARD_TRY(rows(kv));
    a.v = HALYARD_TRY(rows(kv));
    a.gate = HALYARD_TRY(rows(s.intermediate));
    a.up = HALYARD_TRY(rows(s.intermediate));
    a.angles = HALYARD_TRY(device.alloc(DType::f32, {max_chunk, s.n_rot / 2, 2}));
    const std::size_t widest = std::max({s.hidden, q, s.intermediate});
    a.packed = HALYARD_TRY(device.alloc(DType::u8, {ops::packed_bytes(max_chunk, widest)}));
    w->max_chunk_ = max_chunk;
    return w;
  }

  Scratch scratch() const override {
    return {{all_.h, all_.x, all_.q, all_.attended, all_.k, all_.v, all_.gate, all_.up, all_.angles, all_.packed}};
  }

  /// Views for a chunk of `t` positions, kept until another length is asked for.
  Result<const Buffers*> rows(std::size_t t) {
    if (t == 0 || t > max_chunk_) {
      return fail(Errc::invalid_argument,
                  fmt::format("a chunk has 1 to {} tokens here, this one has {}", max_chunk_, t));
    }
    if (t == t_) return &views_;
    const std::size_t q = spec_.heads * spec_.head_dim, kv = spec_.kv_heads * spec_.head_dim;
    const auto view = [t](const Buffer& b, std::size_t columns) { return b.view(0, DType::f32, {t, columns}); };
    Buffers v;
    v.h = HALYARD_TRY(view(all_.h, spec_.hidden));
    v.x = HALYARD_TRY(view(all_.x, spec_.hidden));
    v.q = HALYARD_TRY(view(all_.q, q));
    v.attended = HALYARD_TRY(view(all_.attended, q));
    v.k = HALYARD_TRY(view(all_.k, kv));
    v.v = HALYARD_TRY(view(all_.v, kv));
    v.gate = HALYARD_TRY(view(all_.gate, spec_.intermediate));
    v.up = HALYARD_TRY(view(all_.up, spec_.intermediate));
    v.angles = HALYARD_TRY(all_.angles.view(0, DType::f32, {t, spec_.n_rot / 2, 2}));
    v.packed = all_.packed;
    views_ = std::move(v);
    t_ = t;
    return &views_;
  }

 private:
  explicit DenseWorkspace(const DenseDecoderSpec& s) : spec_(s) {}
  DenseDecoderSpec spec_;
  std::size_t max_chunk_ = 0, t_ = 0;
  Buffers all_, views_;
};

/// The left side of products with several weights: x is packed once if any of them wants that.
Result<ops::Activations> activations(CommandEncoder& e, const Buffer& x, const Buffer& packed,
                                     std::initializer_list<const Linear*> consumers) {
  const bool pack =
      std::any_of(consumers.begin(), consumers.end(), [](const Linear* l) { return l->weight.wants_packed(); });
  if (!pack) return ops::Activations{x, {}};
  const std::size_t t = x.shape()[0], k = x.shape()[1];
  const Buffer room = HALYARD_TRY(packed.view(0, DType::u8, {ops::packed_bytes(t, k)}));
  const ops::Activations a{x, room};
  HALYARD_TRY(ops::pack_activations(e, x, a.packed));
  return a;
}

Result<void> multiply(CommandEncoder& e, const ops::Activations& a, const Linear& l, const Buffer& out,
                      bool accumulate = false) {
  return ops::matmul(e, a, l.weight, out, {.bias = l.bias, .accumulate = accumulate});
}

class DenseDecoder final : public Recipe {
 public:
  explicit DenseDecoder(DenseDecoderSpec s) : spec_(std::move(s)) {
    info_ = {spec_.model_type, spec_.vocab, spec_.hidden, spec_.max_positions,
             std::vector<LayerKvShape>(spec_.layers, {spec_.kv_heads, spec_.head_dim})};
  }
  const ModelInfo& info() const override { return info_; }

  Result<void> load(Weights& w) override {
    const DenseDecoderSpec& s = spec_;
    embedding_ = HALYARD_TRY(w.embedding("model.embed_tokens", s.vocab, s.hidden));
    layers_.reserve(s.layers);
    for (std::size_t i = 0; i < s.layers; ++i) layers_.push_back(HALYARD_TRY(load_layer(w, i)));
    norm_ = HALYARD_TRY(w.vector("model.norm.weight", s.hidden));
    head_ = s.tied_head.value_or(!w.has("lm_head.weight"))
                ? HALYARD_TRY(w.tied_linear("model.embed_tokens", s.vocab, s.hidden))
                : HALYARD_TRY(w.linear("lm_head", s.vocab, s.hidden));
    const ops::RopeFrequencies f = ops::rope_frequencies(s.n_rot, s.rope_theta, s.rope_scaling);
    attention_factor_ = static_cast<float>(f.attention_factor);
    if (!w.device()) return {};
    inv_freq_ = HALYARD_TRY(Device(*w.device()).alloc(DType::f64, {f.inv_freq.size()}));
    return inv_freq_.write<double>(f.inv_freq);
  }

  Result<std::unique_ptr<Workspace>> workspace(Device device, std::size_t max_chunk) const override {
    return HALYARD_TRY(DenseWorkspace::make(std::move(device), spec_, max_chunk));
  }

  Result<void> record(const NextEncoder& next, Workspace& workspace, const Chunk& c) const override {
    const std::size_t t = c.tokens.shape().elements();
    const Buffers& s = *HALYARD_TRY(static_cast<DenseWorkspace&>(workspace).rows(t));
    CommandEncoder* e = HALYARD_TRY(next(0));
    HALYARD_TRY(ops::embedding(*e, c.tokens, embedding_, s.h));
    HALYARD_TRY(ops::rope_angles(*e, c.positions, inv_freq_, s.angles, attention_factor_));
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (i > 0) e = HALYARD_TRY(next(i));
      HALYARD_TRY(attend(*e, s, layers_[i], c, i));
      HALYARD_TRY(feed_forward(*e, s, layers_[i]));
    }
    return c.logits ? project(*e, s, c) : Result<void>();
  }

 private:
  Result<Layer> load_layer(Weights& w, std::size_t i) const {
    const DenseDecoderSpec& s = spec_;
    const std::string p = fmt::format("model.layers.{}.", i);
    const std::size_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    Layer l;
    l.input_norm = HALYARD_TRY(w.vector(p + "input_layernorm.weight", s.hidden));
    l.q = HALYARD_TRY(w.linear(p + "self_attn.q_proj", q, s.hidden, s.qkv_bias));
    l.k = HALYARD_TRY(w.linear(p + "self_attn.k_proj", kv, s.hidden, s.qkv_bias));
    l.v = HALYARD_TRY(w.linear(p + "self_attn.v_proj", kv, s.hidden, s.qkv_bias));
    l.o = HALYARD_TRY(w.linear(p + "self_attn.o_proj", s.hidden, q, s.o_bias));
    if (s.qk_norm) {
      l.q_norm = HALYARD_TRY(w.vector(p + "self_attn.q_norm.weight", s.head_dim));
      l.k_norm = HALYARD_TRY(w.vector(p + "self_attn.k_norm.weight", s.head_dim));
    }
    l.post_norm = HALYARD_TRY(w.vector(p + "post_attention_layernorm.weight", s.hidden));
    l.gate = HALYARD_TRY(w.linear(p + "mlp.gate_proj", s.intermediate, s.hidden, s.mlp_bias));
    l.up = HALYARD_TRY(w.linear(p + "mlp.up_proj", s.intermediate, s.hidden, s.mlp_bias));
    l.down = HALYARD_TRY(w.linear(p + "mlp.down_proj", s.hidden, s.intermediate, s.mlp_bias));
    return l;
  }

  /// h += o(attention(q, k, v)). Independent ops stand side by side, so that no barrier falls between them.
  Result<void> attend(CommandEncoder& e, const Buffers& s, const Layer& l, const Chunk& c, std::size_t i) const {
    const std::size_t t = s.h.shape()[0];
    HALYARD_TRY(ops::rms_norm(e, s.h, l.input_norm, s.x, spec_.norm_eps));
    const ops::Activations x = HALYARD_TRY(activations(e, s.x, s.packed, {&l.q, &l.k, &l.v}));
    HALYARD_TRY(multiply(e, x, l.q, s.q));
    HALYARD_TRY(multiply(e, x, l.k, s.k));
    HALYARD_TRY(multiply(e, x, l.v, s.v));

    const auto heads = [&](const Buffer& b, std::size_t n) { return b.view(0, DType::f32, {t, n, spec_.head_dim}); };
    const Buffer q = HALYARD_TRY(heads(s.q, spec_.heads)), k = HALYARD_TRY(heads(s.k, spec_.kv_heads)),
                 v = HALYARD_TRY(heads(s.v, spec_.kv_heads)), attended = HALYARD_TRY(heads(s.attended, spec_.heads));
    if (spec_.qk_norm) {
      HALYARD_TRY(ops::rms_norm(e, q, l.q_norm, q, spec_.norm_eps));
      HALYARD_TRY(ops::rms_norm(e, k, l.k_norm, k, spec_.norm_eps));
    }
    HALYARD_TRY(ops::kv_append(e, v, c.cache[i].v, c.slots));
    HALYARD_TRY(ops::rope(e, q, s.angles, q, ops::RopeLayout::half_split));
    HALYARD_TRY(ops::rope(e, k, s.angles, k, ops::RopeLayout::half_split));
    HALYARD_TRY(ops::kv_append(e, k, c.cache[i].k, c.slots));
    const ops::AttentionOptions options{.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(spec_.head_dim))),
                                        .window = spec_.windows[i]};
    HALYARD_TRY(ops::attention(e, q, c.cache[i].k, c.cache[i].v, attended, c.batch, options));
    return multiply(e, HALYARD_TRY(activations(e, s.attended, s.packed, {&l.o})), l.o, s.h, /*accumulate=*/true);
  }

  /// h += down(silu(gate) · up)
  Result<void> feed_forward(CommandEncoder& e, const Buffers& s, const Layer& l) const {
    HALYARD_TRY(ops::rms_norm(e, s.h, l.post_norm, s.x, spec_.norm_eps));
    const ops::Activations x = HALYARD_TRY(activations(e, s.x, s.packed, {&l.gate, &l.up}));
    HALYARD_TRY(multiply(e, x, l.gate, s.gate));
    HALYARD_TRY(multiply(e, x, l.up, s.up));
    HALYARD_TRY(ops::silu_mul(e, s.gate, s.up, s.gate));
    return multiply(e, HALYARD_TRY(activations(e, s.gate, s.packed, {&l.down})), l.down, s.h, /*accumulate=*/true);
  }

  /// The logits of all positions, or of the last where the caller has room for one row.
  Result<void> project(CommandEncoder& e, const Buffers& s, const Chunk& c) const {
    const std::size_t t = s.h.shape()[0], rows = c.logits.shape()[0];
    if (c.wanted) {
      const Buffer x = HALYARD_TRY(s.x.view(0, DType::f32, {rows, spec_.hidden}));
      HALYARD_TRY(ops::gather_rows(e, s.h, c.wanted, x));
      HALYARD_TRY(ops::rms_norm(e, x, norm_, x, spec_.norm_eps));
      return multiply(e, HALYARD_TRY(activations(e, x, s.packed, {&head_})), head_, c.logits);
    }
    if (rows != t && rows != 1) {
      return fail(Errc::invalid_argument, fmt::format("logits for a chunk of {} are [{}, V] or [1, V], not {}", t, t,
                                                      to_string(c.logits.shape())));
    }
    const std::size_t first = (t - rows) * spec_.hidden * sizeof(float);
    const Buffer h = HALYARD_TRY(s.h.view(first, DType::f32, {rows, spec_.hidden}));
    const Buffer x = HALYARD_TRY(s.x.view(0, DType::f32, {rows, spec_.hidden}));
    HALYARD_TRY(ops::rms_norm(e, h, norm_, x, spec_.norm_eps));
    return multiply(e, HALYARD_TRY(activations(e, x, s.packed, {&head_})), head_, c.logits);
  }

  DenseDecoderSpec spec_;
  ModelInfo info_;
  ops::EmbeddingTable embedding_;
  std::vector<Layer> layers_;
  Buffer norm_;      // f32 [hidden]
  Linear head_;      // [vocab, hidden]
  Buffer inv_freq_;  // f64 [n_rot / 2]
  float attention_factor_ = 1;
};

}  // namespace

DenseDecoderSpec dense_decoder_spec(const DecoderConfig& d) {
  DenseDecoderSpec s;
  s.model_type = d.model_type;
  s.hidden = d.hidden_size;
  s.layers = d.num_hidden_layers;
  s.heads = d.num_attention_heads;
  s.kv_heads = d.num_key_value_heads;
  s.head_dim = d.head_dim;
  s.intermediate = d.intermediate_size;
  s.vocab = d.vocab_size;
  s.max_positions = d.max_position_embeddings;
  s.norm_eps = static_cast<float>(d.rms_norm_eps);
  s.n_rot = d.n_rot;
  s.rope_theta = d.rope_theta;
  s.rope_scaling = d.rope_scaling;
  s.windows.assign(d.num_hidden_layers, 0);
  s.tied_head = d.tie_word_embeddings;
  return s;
}

std::unique_ptr<Recipe> make_dense_decoder(DenseDecoderSpec spec) {
  return std::make_unique<DenseDecoder>(std::move(spec));
}

}  // namespace halyard::models
