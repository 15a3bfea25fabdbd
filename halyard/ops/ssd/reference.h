// The recurrence of ssd.h in f64, as in Dao and Gu (2024), mlx-lm's ssm_update and transformers' modeling_mamba2: δ goes through
// softplus and the limits, s = e^(δ·a) · s + δ · x ⊗ B, out = s · C + d · x.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "halyard/ops/ssd/ssd.h"

namespace halyard::ops::reference {

struct SsdSizes {
  std::size_t heads, head_dim, groups, state;
  std::size_t inner() const { return heads * head_dim; }
  std::size_t row() const { return inner() + 2 * groups * state; }
  std::size_t slot() const { return inner() * state; }
};

/// Of one sequence, from zeros. Magnitudes: the same of the terms' sizes.
struct Ssd {
  std::vector<double> out, magnitude;          ///< [rows, H·P]
  std::vector<double> state, state_magnitude;  ///< [H, P, N]
};
inline Ssd ssd(const SsdSizes& z, std::size_t rows, const float* xbc, const float* dt, const float* a, const float* d,
               const float* dt_bias, const SsdOptions& options) {
  Ssd r = {std::vector<double>(rows * z.inner()), std::vector<double>(rows * z.inner()), std::vector<double>(z.slot()),
           std::vector<double>(z.slot())};
  for (std::size_t t = 0; t < rows; ++t)
    for (std::size_t h = 0; h < z.heads; ++h) {
      const double in = static_cast<double>(dt[t * z.heads + h]) + dt_bias[h];
      const double softplus = std::max(in, 0.0) + std::log1p(std::exp(-std::abs(in)));
      const double step = std::isnan(in) ? in : std::clamp(softplus, double{options.dt_min}, double{options.dt_max});
      const double decay = std::exp(step * a[h]);
      const float* x = xbc + t * z.row();
      const float* b = x + z.inner() + h / (z.heads / z.groups) * z.state;
      const float* c = b + z.groups * z.state;
      for (std::size_t p = 0; p < z.head_dim; ++p) {
        const std::size_t at = h * z.head_dim + p;
        double sum = static_cast<double>(d[h]) * x[at], size = std::abs(sum);
        for (std::size_t n = 0; n < z.state; ++n) {
          double &s = r.state[at * z.state + n], &m = r.state_magnitude[at * z.state + n];
          s = decay * s + step * x[at] * b[n];
          m = decay * m + std::abs(step * x[at] * b[n]);
          sum += s * c[n];
          size += m * std::abs(c[n]);
        }
        r.out[t * z.inner() + at] = sum;
        r.magnitude[t * z.inner() + at] = size;
      }
    }
  return r;
}

}  // namespace halyard::ops::reference
