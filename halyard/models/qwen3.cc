// Qwen 2, 2.5 and 3: Qwen 2 has biases in the attention's inputs, Qwen 3 norms of every query and key head instead.
#include "halyard/models/families.h"

namespace halyard::models {
namespace {

/// The window counts only with use_sliding_window, and then, unless layer_types says otherwise, from max_window_layers on.
Result<void> set_windows(const ConfigView& c, const DecoderConfig& d, DenseDecoderSpec& s) {
  const bool used = HALYARD_TRY(c.boolean_or("use_sliding_window", false));
  const std::int64_t first = HALYARD_TRY(c.integer_or("max_window_layers", 28, 0, INT32_MAX));
  for (std::size_t i = 0; i < s.layers; ++i) {
    const bool sliding = d.sliding_layers.empty() ? i >= static_cast<std::size_t>(first) : d.sliding_layers[i];
    s.windows[i] = used && sliding ? d.sliding_window : 0;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Recipe>> make_qwen2(const ConfigView& c) {
  const DecoderConfig d =
      HALYARD_TRY(parse_decoder_config(c, {.max_position_embeddings = 32768, .sliding_window = 4096}));
  DenseDecoderSpec s = dense_decoder_spec(d);
  s.qkv_bias = true;
  HALYARD_TRY(set_windows(c, d, s));
  return make_dense_decoder(std::move(s));
}

Result<std::unique_ptr<Recipe>> make_qwen3(const ConfigView& c) {
  const DecoderConfig d =
      HALYARD_TRY(parse_decoder_config(c, {.head_dim = 128, .max_position_embeddings = 32768, .sliding_window = 4096}));
  DenseDecoderSpec s = dense_decoder_spec(d);
  s.qkv_bias = s.o_bias = d.attention_bias;
  s.qk_norm = true;
  HALYARD_TRY(set_windows(c, d, s));
  return make_dense_decoder(std::move(s));
}

}  // namespace halyard::models
