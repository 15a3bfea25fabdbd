// The formula of gated_norm.h in f64, as of state-spaces' RMSNormGated with norm_before_gate = False: each group by itself.
// transformers and mlx-lm write it for one group.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include "halyard/ops/elementwise/reference.h"

namespace halyard::ops::reference {

/// One group of a row.
inline void gated_norm(const float* x, const float* gate, const float* weight, double* out, std::size_t width,
                       double eps) {
  std::vector<double> y(width);
  double squares = 0;
  for (std::size_t i = 0; i < width; ++i) {
    y[i] = x[i] * silu(gate[i]);
    squares += y[i] * y[i];
  }
  const double root = std::sqrt(squares / static_cast<double>(width) + eps);
  for (std::size_t i = 0; i < width; ++i) out[i] = y[i] / root * weight[i];
}

}  // namespace halyard::ops::reference
