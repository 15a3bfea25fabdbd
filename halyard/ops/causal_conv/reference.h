// The formula of causal_conv.h in f64, as of transformers' modeling_mamba2 (conv1d, then silu) from the first row on.
#pragma once

#include <cmath>
#include <cstddef>

#include "halyard/ops/elementwise/reference.h"

namespace halyard::ops::reference {

/// x, out, magnitude: [rows, channels]; weight: [taps, channels]; bias: [channels] or null; magnitude: the sum of the terms' sizes.
inline void causal_conv(const float* x, const float* weight, const float* bias, double* out, double* magnitude,
                        std::size_t rows, std::size_t channels, std::size_t taps) {
  for (std::size_t t = 0; t < rows; ++t)
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = bias ? bias[c] : 0, size = std::abs(sum);
      for (std::size_t k = 0; k < taps; ++k) {
        const double before = t + k + 1 < taps ? 0 : x[(t + k + 1 - taps) * channels + c];
        sum += weight[k * channels + c] * before;
        size += std::abs(weight[k * channels + c] * before);
      }
      out[t * channels + c] = silu(sum);
      magnitude[t * channels + c] = size;
    }
}

}  // namespace halyard::ops::reference
