// The formulas in f64.
#pragma once

#include <cmath>
#include <numbers>

namespace halyard::ops::reference {

inline double silu(double x) { return x / (1 + std::exp(-x)); }
inline double gelu_exact(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }
inline double gelu_tanh(double x) {
  // x/2 · (1 + tanh u) written without the cancellation for x < 0
  const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return x / (1 + std::exp(-2 * u));
}

}  // namespace halyard::ops::reference
