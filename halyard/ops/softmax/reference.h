// The formula of softmax.h in f64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace halyard::ops::reference {

inline void softmax(const float* x, double* out, std::size_t width) {
  const double top = *std::max_element(x, x + width);
  double total = 0;
  for (std::size_t i = 0; i < width; ++i) total += out[i] = std::exp(x[i] - top);
  for (std::size_t i = 0; i < width; ++i) out[i] /= total;
}

}  // namespace halyard::ops::reference
