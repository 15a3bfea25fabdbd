// The decoder that most families are: pre-norm blocks of attention and a gated MLP over a residual stream.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "halyard/models/config.h"
#include "halyard/models/model.h"
#include "halyard/ops/rope/rope.h"

namespace halyard::models {

/// What sets one dense decoder apart from another. Lengths are elements.
struct DenseDecoderSpec {
  std::string model_type;
  std::size_t hidden = 0;
  std::size_t layers = 0;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t intermediate = 0;
  std::size_t vocab = 0;
  std::size_t max_positions = 0;
  float norm_eps = 0;
  std::size_t n_rot = 0;  ///< rotated elements of a head
  double rope_theta = 0;
  ops::RopeScaling rope_scaling;
  std::vector<std::size_t> windows;  ///< for each layer: positions that attention sees, 0: all
  bool qk_norm = false;              ///< RMS norm of every query and key head
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  std::optional<bool> tied_head;  ///< the output head is the embedding; absent: where there is no head
};

/// What the config says, without biases, norms of heads and windows: which a family has is the family's own knowledge.
DenseDecoderSpec dense_decoder_spec(const DecoderConfig&);

/// h = embedding[tokens]; for each layer: h += o(attention(rope(norm(qkv(rms(h)))))), h += down(silu(gate(rms(h))) · up(rms(h)));
/// logits = head(rms(h)). Weight names are Hugging Face's: model.layers.N.self_attn.q_proj and so on.
std::unique_ptr<Recipe> make_dense_decoder(DenseDecoderSpec);

}  // namespace halyard::models
