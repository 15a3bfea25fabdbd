#include "halyard/models/config.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace halyard::models {
namespace {

// Greater than any real model's, and small enough that nothing computed from sizes overflows.
constexpr std::int64_t kMaxSize = 1 << 24;
constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxHeadDim = 256;  // of the attention op
constexpr std::int64_t kMaxPositions = 1 << 30;
constexpr NumberRule kPositive{.min = 0, .max = 1e12, .above_min = true};
constexpr NumberRule kShare{.min = 0, .max = 1, .above_min = true};
constexpr NumberRule kNotNegative{.min = 0, .max = 1e12};

Result<std::size_t> size(const ConfigView& c, std::string_view field, std::int64_t max) {
  return static_cast<std::size_t>(HALYARD_TRY(c.integer(field, 1, max)));
}
Result<std::size_t> size_or(const ConfigView& c, std::string_view field, std::size_t absent, std::int64_t max) {
  return c.has(field) ? size(c, field, max) : absent;
}

Result<void> check_heads(const ConfigView& c, const DecoderConfig& d) {
  if (d.num_attention_heads % d.num_key_value_heads != 0) {
    return c.error("num_attention_heads", fmt::format("{} is not a multiple of num_key_value_heads {}",
                                                      d.num_attention_heads, d.num_key_value_heads));
  }
  if (d.head_dim % 2 != 0) {
    return c.error("head_dim", fmt::format("{} is odd; rotary embedding turns pairs", d.head_dim));
  }
  return {};
}

Result<std::size_t> head_dim(const ConfigView& c, const DecoderConfig& d, std::size_t otherwise) {
  if (c.has("head_dim")) return size(c, "head_dim", kMaxHeadDim);
  if (otherwise) return otherwise;
  const std::size_t dim = d.hidden_size / d.num_attention_heads;
  if (d.hidden_size % d.num_attention_heads != 0 || dim > static_cast<std::size_t>(kMaxHeadDim)) {
    return c.error("hidden_size", fmt::format("{} split over num_attention_heads {} gives no head_dim from 1 to {}",
                                              d.hidden_size, d.num_attention_heads, kMaxHeadDim));
  }
  return dim;
}

/// rope_scaling or rope_parameters. Names and defaults as in transformers' modeling_rope_utils.
Result<ops::RopeScaling> parse_scaling(const ConfigView& r, const DecoderConfig& d) {
  using Kind = ops::RopeScaling::Kind;
  ops::RopeScaling s;
  const char* name = r.has("rope_type") ? "rope_type" : "type";
  const std::string kind = HALYARD_TRY(r.string_or(name, "default"));
  if (kind == "default") return s;
  if (kind != "linear" && kind != "llama3" && kind != "yarn") {
    return r.error(name, fmt::format("{} is not known; known are default, linear, llama3, yarn", describe(kind)));
  }
  s.factor = HALYARD_TRY(r.number("factor", kPositive));
  if (kind == "linear") {
    s.kind = Kind::linear;
    return s;
  }
  if (kind == "llama3") {
    s.kind = Kind::llama3;
    s.low_freq_factor = HALYARD_TRY(r.number("low_freq_factor", kPositive));
    s.high_freq_factor = HALYARD_TRY(r.number("high_freq_factor", kPositive));
    s.original_max_position_embeddings = HALYARD_TRY(r.number("original_max_position_embeddings", kPositive));
    if (s.high_freq_factor <= s.low_freq_factor) {
      return r.error("high_freq_factor",
                     fmt::format("{} is not greater than low_freq_factor {}", s.high_freq_factor, s.low_freq_factor));
    }
    return s;
  }
  s.kind = Kind::yarn;
  s.original_max_position_embeddings = HALYARD_TRY(
      r.number_or("original_max_position_embeddings", static_cast<double>(d.max_position_embeddings), kPositive));
  s.beta_fast = HALYARD_TRY(r.number_or("beta_fast", 32, kPositive));
  s.beta_slow = HALYARD_TRY(r.number_or("beta_slow", 1, kPositive));
  s.attention_factor = HALYARD_TRY(r.number_or("attention_factor", 0, kNotNegative));
  s.mscale = HALYARD_TRY(r.number_or("mscale", 0, kNotNegative));
  s.mscale_all_dim = HALYARD_TRY(r.number_or("mscale_all_dim", 0, kNotNegative));
  s.truncate = HALYARD_TRY(r.boolean_or("truncate", true));
  return s;
}

/// rope_theta and rope_scaling stand at the top, or together in rope_parameters.
Result<void> parse_rope(const ConfigView& c, DecoderConfig& d, double theta) {
  double rotated = HALYARD_TRY(c.number_or("partial_rotary_factor", 1, kShare));
  d.rope_theta = HALYARD_TRY(c.number_or("rope_theta", theta, kPositive));
  if (c.has("rope_parameters")) {
    const ConfigView r = HALYARD_TRY(c.object("rope_parameters"));
    d.rope_theta = HALYARD_TRY(r.number_or("rope_theta", d.rope_theta, kPositive));
    rotated = HALYARD_TRY(r.number_or("partial_rotary_factor", rotated, kShare));
    d.rope_scaling = HALYARD_TRY(parse_scaling(r, d));
  } else if (c.has("rope_scaling")) {
    const ConfigView r = HALYARD_TRY(c.object("rope_scaling"));
    d.rope_scaling = HALYARD_TRY(parse_scaling(r, d));
  }
  d.n_rot = static_cast<std::size_t>(static_cast<double>(d.head_dim) * rotated);
  if (d.n_rot == 0 || d.n_rot % 2 != 0) {
    return c.error("partial_rotary_factor",
                   fmt::format("{} rotates {} elements of a head of {}; expected an even number above 0", rotated,
                               d.n_rot, d.head_dim));
  }
  if (d.rope_scaling.kind == ops::RopeScaling::Kind::yarn) {
    const double stretched = d.rope_scaling.factor * d.rope_scaling.original_max_position_embeddings;
    d.max_position_embeddings = std::max(
        d.max_position_embeddings, static_cast<std::size_t>(std::min(stretched, static_cast<double>(kMaxPositions))));
  }
  return {};
}

Result<void> parse_layer_types(const ConfigView& c, DecoderConfig& d) {
  if (!c.has("layer_types")) return {};
  const std::vector<std::string> types = HALYARD_TRY(c.strings("layer_types"));
  if (types.size() != d.num_hidden_layers) {
    return c.error("layer_types",
                   fmt::format("names {} layers, num_hidden_layers is {}", types.size(), d.num_hidden_layers));
  }
  for (const std::string& t : types) {
    if (t != "full_attention" && t != "sliding_attention") {
      return c.error("layer_types",
                     fmt::format("{} is not known; known are full_attention, sliding_attention", describe(t)));
    }
    d.sliding_layers.push_back(t == "sliding_attention");
  }
  return {};
}

}  // namespace

Result<DecoderConfig> parse_decoder_config(const ConfigView& c, const ConfigDefaults& defaults) {
  DecoderConfig d;
  d.model_type = HALYARD_TRY(c.string("model_type"));
  d.hidden_size = HALYARD_TRY(size(c, "hidden_size", kMaxSize));
  d.num_hidden_layers = HALYARD_TRY(size(c, "num_hidden_layers", kMaxLayers));
  d.num_attention_heads = HALYARD_TRY(size(c, "num_attention_heads", kMaxSize));
  d.num_key_value_heads = HALYARD_TRY(size_or(c, "num_key_value_heads", d.num_attention_heads, kMaxSize));
  d.head_dim = HALYARD_TRY(head_dim(c, d, defaults.head_dim));
  d.intermediate_size = HALYARD_TRY(size(c, "intermediate_size", kMaxSize));
  d.vocab_size = HALYARD_TRY(size(c, "vocab_size", kMaxSize));
  d.max_position_embeddings =
      HALYARD_TRY(size_or(c, "max_position_embeddings", defaults.max_position_embeddings, kMaxPositions));
  d.rms_norm_eps = HALYARD_TRY(c.number_or("rms_norm_eps", 1e-6, {.min = 0, .max = 1}));
  d.attention_bias = HALYARD_TRY(c.boolean_or("attention_bias", false));
  d.mlp_bias = HALYARD_TRY(c.boolean_or("mlp_bias", false));
  if (c.has("tie_word_embeddings")) d.tie_word_embeddings = HALYARD_TRY(c.boolean("tie_word_embeddings"));
  const bool written = c.json().contains("sliding_window");  // null turns it off, unlike a missing field
  d.sliding_window = HALYARD_TRY(size_or(c, "sliding_window", written ? 0 : defaults.sliding_window, kMaxPositions));
  const std::string field(defaults.activation_field), activation(defaults.activation);
  if (const std::string said = HALYARD_TRY(c.string_or(field, activation)); said != activation)
    return c.error(field, fmt::format("expected \"{}\", got {}", activation, describe(said)));
  HALYARD_TRY(check_heads(c, d));
  HALYARD_TRY(parse_rope(c, d, defaults.rope_theta));
  HALYARD_TRY(parse_layer_types(c, d));
  return d;
}

}  // namespace halyard::models
