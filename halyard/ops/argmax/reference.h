// The rule of argmax.h.
#pragma once

#include <cmath>
#include <cstddef>

namespace halyard::ops::reference {

inline std::size_t argmax(const float* x, std::size_t width) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < width && !std::isnan(x[best]); ++i)
    if (std::isnan(x[i]) || x[i] > x[best]) best = i;
  return best;
}

}  // namespace halyard::ops::reference
