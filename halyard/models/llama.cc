// Llama 1, 2 and 3, Mistral, SmolLM (Touvron et al. 2023; Jiang et al. 2023).
#include "halyard/models/families.h"

namespace halyard::models {

Result<std::unique_ptr<Recipe>> make_llama(const ConfigView& c) {
  const DecoderConfig d = HALYARD_TRY(parse_decoder_config(c, {}));
  DenseDecoderSpec s = dense_decoder_spec(d);
  s.qkv_bias = s.o_bias = d.attention_bias;
  s.mlp_bias = d.mlp_bias;
  return make_dense_decoder(std::move(s));
}

/// Every layer attends to the last sliding_window positions, as in transformers; layer_types, where given, say which do.
Result<std::unique_ptr<Recipe>> make_mistral(const ConfigView& c) {
  const DecoderConfig d =
      HALYARD_TRY(parse_decoder_config(c, {.max_position_embeddings = 131072, .sliding_window = 4096}));
  DenseDecoderSpec s = dense_decoder_spec(d);
  for (std::size_t i = 0; i < s.layers; ++i) {
    s.windows[i] = d.sliding_layers.empty() || d.sliding_layers[i] ? d.sliding_window : 0;
  }
  return make_dense_decoder(std::move(s));
}

}  // namespace halyard::models
