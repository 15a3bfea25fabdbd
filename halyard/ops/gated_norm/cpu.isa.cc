// y = x · silu(gate); out = y / sqrt(mean(y²) + eps) · weight over each group of a row. A group fits the first cache.
#include "halyard/ops/gated_norm/cpu.h"
#include "halyard/ops/elementwise/functions.h"
#include "halyard/ops/norm/rows.h"

namespace halyard::ops {

using namespace simd;

template <> void gated_norm_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<GatedNormConstants>();
  NormConstants norm = {};
  norm.width = c.width;
  norm.eps = c.eps;
  for (std::uint64_t r = t.y0; r < t.y1; ++r) {
    for (std::uint64_t g = t.x0; g < t.x1; ++g) {
      const std::size_t at = (r * c.groups + g) * c.width;
      const float *x = t.as<float>(0) + at, *gate = t.as<float>(1) + at;
      float* out = t.as<float>(3) + at;
      for_each_vector(c.width,
                      [&](std::size_t i, auto n) { store(out + i, SiluMul{}(load(gate + i, n), load(x + i, n)), n); });
      rms_norm_row(out, t.as<float>(2) + g * c.width, out, norm);
    }
  }
}

}  // namespace halyard::ops
