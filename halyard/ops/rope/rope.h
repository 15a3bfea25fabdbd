// Rotary position embedding (Su et al. 2021).
#pragma once

#include <vector>

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// How rope's frequencies are stretched for long contexts. Formulas and names are those of transformers' rope utilities.
struct RopeScaling {
  enum class Kind { none, linear, llama3, yarn } kind = Kind::none;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double original_max_position_embeddings = 0;       // llama3, yarn
  double beta_fast = 32, beta_slow = 1;              // yarn
  double attention_factor = 0;                       // yarn: 0 computes it from factor (and mscale, mscale_all_dim)
  double mscale = 0, mscale_all_dim = 0;             // yarn: 0: not given
  bool truncate = true;                              // yarn: floor and ceil the correction range
};

struct RopeFrequencies {
  std::vector<double> inv_freq;  ///< [n_rot / 2] radians a position
  double attention_factor = 1;   ///< multiplies both cos and sin
};
/// The frequencies theta^(-2i/n_rot), scaled. n_rot: rotated dimensions of a head, even.
RopeFrequencies rope_frequencies(std::size_t n_rot, double theta, const RopeScaling&);

/// cos_sin[t, i] = (cos, sin)(positions[t] · inv_freq[i]) · attention_factor, the angle taken in f64: right to 1e-6 at
/// position 100,000. positions: i32 [T]; inv_freq: f64 [n_rot/2]; cos_sin: f32 [T, n_rot/2, 2], apart from both.
Result<void> rope_angles(CommandEncoder&, const Buffer& positions, const Buffer& inv_freq, const Buffer& cos_sin,
                         float attention_factor);

enum class RopeLayout : std::uint32_t {
  half_split,   ///< pairs (i, i + n_rot/2): Hugging Face, GPT-NeoX
  interleaved,  ///< pairs (2i, 2i + 1): the paper, GPT-J
};
/// Turns each pair of the first n_rot elements of every head by its angle; the rest is copied. x, out: f32
/// [T, n_heads, D]; cos_sin: f32 [T, n_rot/2, 2], n_rot ≤ D. `out` may be x itself; it overlaps neither x otherwise nor cos_sin.
Result<void> rope(CommandEncoder&, const Buffer& x, const Buffer& cos_sin, const Buffer& out, RopeLayout);

}  // namespace halyard::ops
