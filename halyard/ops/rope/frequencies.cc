// Rope's frequencies and how they are stretched. The formulas are those of transformers' modeling_rope_utils.py, in f64.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "halyard/ops/rope/rope.h"

namespace halyard::ops {
namespace {

constexpr double two_pi = 2 * std::numbers::pi;

// Low frequencies are divided by factor, high ones kept, those between blended (Llama 3.1).
double llama3(double inv_freq, const RopeScaling& s) {
  const double wavelength = two_pi / inv_freq, context = s.original_max_position_embeddings;
  if (wavelength > context / s.low_freq_factor) return inv_freq / s.factor;
  if (wavelength < context / s.high_freq_factor) return inv_freq;
  const double smooth = (context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - smooth) * inv_freq / s.factor + smooth * inv_freq;
}

// YaRN (Peng et al. 2023): dimensions that turn more than beta_fast times in the original context are kept, those that
// turn less than beta_slow times are divided by factor, a linear ramp lies between.
struct Ramp {
  double low, high;
  double operator()(double i) const { return std::clamp((i - low) / (high - low), 0.0, 1.0); }
};
Ramp yarn_ramp(double n_rot, double theta, const RopeScaling& s) {
  const auto dimension = [&](double turns) {
    return n_rot * std::log(s.original_max_position_embeddings / (turns * two_pi)) / (2 * std::log(theta));
  };
  double low = dimension(s.beta_fast), high = dimension(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, n_rot - 1);
  if (low == high) high += 0.001;
  return {low, high};
}
double yarn_attention_factor(const RopeScaling& s) {
  const auto magnitude = [&](double mscale) { return s.factor <= 1 ? 1.0 : 0.1 * mscale * std::log(s.factor) + 1; };
  if (s.attention_factor != 0) return s.attention_factor;
  if (s.mscale != 0 && s.mscale_all_dim != 0) return magnitude(s.mscale) / magnitude(s.mscale_all_dim);
  return magnitude(1);
}

}  // namespace

RopeFrequencies rope_frequencies(std::size_t n_rot, double theta, const RopeScaling& s) {
  RopeFrequencies f;
  const auto n = static_cast<double>(n_rot);
  for (std::size_t i = 0; i < n_rot / 2; ++i) f.inv_freq.push_back(1 / std::pow(theta, 2 * static_cast<double>(i) / n));
  switch (s.kind) {
    case RopeScaling::Kind::none: break;
    case RopeScaling::Kind::linear:
      for (double& w : f.inv_freq) w /= s.factor;
      break;
    case RopeScaling::Kind::llama3:
      for (double& w : f.inv_freq) w = llama3(w, s);
      break;
    case RopeScaling::Kind::yarn: {
      const Ramp ramp = yarn_ramp(n, theta, s);
      for (std::size_t i = 0; i < f.inv_freq.size(); ++i) {
        const double stretched = ramp(static_cast<double>(i));
        f.inv_freq[i] = f.inv_freq[i] / s.factor * stretched + f.inv_freq[i] * (1 - stretched);
      }
      f.attention_factor = yarn_attention_factor(s);
    }
  }
  return f;
}

}  // namespace halyard::ops
