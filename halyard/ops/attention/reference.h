// The formula of attention.h in f64, for one query of one head.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace halyard::ops::reference {

/// The positions [first, last) of k and v, rows of head_dim; q, out: [head_dim].
inline void attention(const double* q, const double* k, const double* v, double* out, std::size_t head_dim,
                      std::size_t first, std::size_t last, double scale) {
  std::vector<double> scores;
  for (std::size_t j = first; j < last; ++j) {
    double s = 0;
    for (std::size_t d = 0; d < head_dim; ++d) s += q[d] * k[j * head_dim + d];
    scores.push_back(scale * s);
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& s : scores) total += s = std::exp(s - top);
  std::fill(out, out + head_dim, 0.0);
  for (std::size_t j = first; j < last; ++j)
    for (std::size_t d = 0; d < head_dim; ++d) out[d] += scores[j - first] / total * v[j * head_dim + d];
}

}  // namespace halyard::ops::reference
