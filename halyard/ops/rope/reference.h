// The formula of rope.h in f64.
#pragma once

#include <cstddef>

#include "halyard/ops/rope/rope.h"

namespace halyard::ops::reference {

/// One head; cos_sin: [pairs, 2].
inline void rope(const float* x, const float* cos_sin, double* out, std::size_t head_dim, std::size_t pairs,
                 RopeLayout layout) {
  for (std::size_t i = 0; i < head_dim; ++i) out[i] = x[i];
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::size_t a = layout == RopeLayout::half_split ? i : 2 * i;
    const std::size_t b = layout == RopeLayout::half_split ? i + pairs : 2 * i + 1;
    const double c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
    out[a] = x[a] * c - x[b] * s;
    out[b] = x[b] * c + x[a] * s;
  }
}

}  // namespace halyard::ops::reference
