// config.json, typed: the fields that decoder families share.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/io/config.h"
#include "halyard/ops/rope/rope.h"

namespace halyard::models {

/// What a field means where config.json does not have it: these differ between families, as in transformers.
struct ConfigDefaults {
  std::size_t head_dim = 0;  ///< 0: hidden_size / num_attention_heads
  std::size_t max_position_embeddings = 2048;
  std::size_t sliding_window = 0;  ///< 0: none
  double rope_theta = 10000;
  std::string_view activation_field = "hidden_act", activation = "silu";  ///< the only one there is
};

/// Sizes are checked to be positive, to fit together, and to be small enough that products of any three fit 64 bits.
struct DecoderConfig {
  std::string model_type;
  std::size_t hidden_size = 0;
  std::size_t num_hidden_layers = 0;
  std::size_t num_attention_heads = 0;  ///< a multiple of num_key_value_heads
  std::size_t num_key_value_heads = 0;
  std::size_t head_dim = 0;  ///< even
  std::size_t intermediate_size = 0;
  std::size_t vocab_size = 0;
  std::size_t max_position_embeddings = 0;  ///< with yarn its factor × original length, where that is more
  double rms_norm_eps = 0;
  double rope_theta = 0;
  ops::RopeScaling rope_scaling;
  std::size_t n_rot = 0;  ///< rotated elements of a head
  bool attention_bias = false, mlp_bias = false;
  /// Absent: untied where there is an output head, as transformers has it; else tied, as mlx-lm does.
  std::optional<bool> tie_word_embeddings;
  std::size_t sliding_window = 0;  ///< 0: none
  /// layer_types, one for each layer: whether it is a sliding one. Empty where config.json does not say.
  std::vector<bool> sliding_layers;
};

/// Errors name config.json and the field.
Result<DecoderConfig> parse_decoder_config(const ConfigView&, const ConfigDefaults&);

}  // namespace halyard::models
