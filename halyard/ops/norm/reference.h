// The formulas of norm.h in f64.
#pragma once

#include <cmath>
#include <cstddef>

namespace halyard::ops::reference {

inline void rms_norm(const float* x, const double* weight, double* out, std::size_t width, double eps) {
  double squares = 0;
  for (std::size_t i = 0; i < width; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double root = std::sqrt(squares / static_cast<double>(width) + eps);
  for (std::size_t i = 0; i < width; ++i) out[i] = x[i] / root * weight[i];
}

/// `bias` may be null.
inline void layer_norm(const float* x, const double* weight, const double* bias, double* out, std::size_t width,
                       double eps) {
  double mean = 0, variance = 0;
  for (std::size_t i = 0; i < width; ++i) mean += x[i] / static_cast<double>(width);
  for (std::size_t i = 0; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(width);
  for (std::size_t i = 0; i < width; ++i)
    out[i] = (x[i] - mean) / std::sqrt(variance + eps) * weight[i] + (bias ? bias[i] : 0);
}

}  // namespace halyard::ops::reference
