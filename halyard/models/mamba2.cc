// Mamba 2 (Dao and Gu 2024): no attention; of the past each layer keeps the last inputs of a convolution and a state of fixed
// size.
#include <array>
#include <cmath>

#include "halyard/models/families.h"

namespace halyard::models {
namespace {

struct Sizes {
  std::size_t heads = 0, head_dim = 0, groups = 0, state = 0, taps = 0;
  bool bias = false, conv_bias = false;
  float dt_min = 0, dt_max = 0;
  std::size_t inner() const { return heads * head_dim; }
  std::size_t channels() const { return inner() + 2 * groups * state; }
};

/// h += out(gated_norm(ssd(conv(xbc(x)), dt(x)), gate(x))), x = norm(h)
class Mamba2 final : public Decoder {
 public:
  Mamba2(DecoderConfig c, Sizes s, std::size_t layers)
      : Decoder(std::move(c),
                std::vector<LayerSpec>(layers, {.slot = {{s.taps - 1, s.channels()}, {s.heads, s.head_dim, s.state}}}),
                {"backbone.embeddings", "backbone.layers.", "backbone.norm_f.weight", "lm_head"}),
        sizes_(s) {}

 private:
  enum Part { conv_inputs, state };
  struct Layer {
    Buffer norm, conv_weight, conv_bias, a, d, dt_bias, gated_norm;
    Linear gate, xbc, dt, out;
  };

  Result<void> load_layer(Weights& w, std::size_t, const std::string& p) override {
    const std::size_t hidden = config.hidden_size, inner = sizes_.inner(), channels = sizes_.channels(),
                      taps = sizes_.taps;
    Layer l;
    l.norm = HALYARD_TRY(norm(w, p + "norm.weight", hidden));
    std::vector<Linear> in =
        HALYARD_TRY(w.linears(p + "mixer.in_proj", std::array{inner, channels, sizes_.heads}, hidden, sizes_.bias));
    l.gate = std::move(in[0]);
    l.xbc = std::move(in[1]);
    l.dt = std::move(in[2]);
    // [C, 1, K] in Hugging Face's layout, [C, K, 1] in MLX's; the op wants [K, C].
    const std::vector<float> by_channel = HALYARD_TRY(
        w.values(p + "mixer.conv1d.weight", std::array{Shape{channels, 1, taps}, Shape{channels, taps, 1}}));
    std::vector<float> by_tap(by_channel.size());
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t k = 0; k < taps; ++k) by_tap[k * channels + c] = by_channel[c * taps + k];
    l.conv_weight = HALYARD_TRY(w.upload(by_tap, {taps, channels}));
    if (sizes_.conv_bias) l.conv_bias = HALYARD_TRY(w.vector(p + "mixer.conv1d.bias", channels));
    l.a = HALYARD_TRY(w.vector(p + "mixer.A_log", sizes_.heads, [](float x) { return -std::exp(x); }));
    l.d = HALYARD_TRY(w.vector(p + "mixer.D", sizes_.heads));
    l.dt_bias = HALYARD_TRY(w.vector(p + "mixer.dt_bias", sizes_.heads));
    l.gated_norm = HALYARD_TRY(w.vector(p + "mixer.norm.weight", inner));
    l.out = HALYARD_TRY(w.linear(p + "mixer.out_proj", hidden, inner, sizes_.bias));
    layers_.push_back(std::move(l));
    return {};
  }

  Value layer(Step& s, std::size_t i, Value h) const override {
    const Layer& l = layers_[i];
    const Value x = rms_norm(s, h, l.norm);
    const Value gate = s.multiply(s.asked(i, x), l.gate), xbc = s.multiply(x, l.xbc), dt = s.multiply(x, l.dt);
    const Value mixed = s.causal_conv(i, conv_inputs, xbc, l.conv_weight, l.conv_bias);
    const Value y = s.ssd(i, state, mixed, dt, l.a, l.d, l.dt_bias, {sizes_.groups, sizes_.dt_min, sizes_.dt_max});
    const Value normed =
        s.gated_norm(s.asked(i, y), gate, l.gated_norm, static_cast<float>(config.rms_norm_eps), sizes_.groups);
    return s.add(h, s.multiply(normed, l.out));
  }

  Sizes sizes_;
  std::vector<Layer> layers_;
};

}  // namespace

Result<std::unique_ptr<Recipe>> make_mamba2(const ConfigView& c) {
  const auto size = [&](const char* field) -> Result<std::size_t> {
    return static_cast<std::size_t>(HALYARD_TRY(c.integer(field, 1, 1 << 20)));
  };
  DecoderConfig d;
  d.model_type = HALYARD_TRY(c.string("model_type"));
  d.hidden_size = HALYARD_TRY(size("hidden_size"));
  d.num_hidden_layers = HALYARD_TRY(size("num_hidden_layers"));
  d.vocab_size = HALYARD_TRY(size("vocab_size"));
  d.max_position_embeddings = std::size_t{1} << 30;  // there is no limit but that of positions' numbers
  d.rms_norm_eps = HALYARD_TRY(c.number_or("layer_norm_epsilon", 1e-5, {.min = 0, .max = 1}));
  if (c.has("tie_word_embeddings")) d.tie_word_embeddings = HALYARD_TRY(c.boolean("tie_word_embeddings"));
  if (const std::string act = HALYARD_TRY(c.string_or("hidden_act", "silu")); act != "silu")
    return c.error("hidden_act", "expected \"silu\", got " + describe(act));
  Sizes s;
  s.heads = HALYARD_TRY(size("num_heads"));
  s.head_dim = HALYARD_TRY(size("head_dim"));
  s.groups = HALYARD_TRY(size("n_groups"));
  s.state = HALYARD_TRY(size("state_size"));
  s.taps = static_cast<std::size_t>(HALYARD_TRY(c.integer_or("conv_kernel", 4, 2, 64)));
  if (s.heads % s.groups != 0) return c.error("n_groups", "expected a divisor of num_heads");
  s.bias = HALYARD_TRY(c.boolean_or("use_bias", false));
  s.conv_bias = HALYARD_TRY(c.boolean_or("use_conv_bias", true));
  std::vector<double> limit = {0, INFINITY};
  if (c.has("time_step_limit")) limit = HALYARD_TRY(c.numbers("time_step_limit", {.min = 0, .non_finite = true}));
  if (limit.size() != 2) return c.error("time_step_limit", "expected two numbers");
  s.dt_min = static_cast<float>(limit[0]);
  s.dt_max = static_cast<float>(limit[1]);
  const std::size_t layers = d.num_hidden_layers;
  return std::make_unique<Mamba2>(std::move(d), s, layers);
}

}  // namespace halyard::models
