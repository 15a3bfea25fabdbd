// cos_sin[t, i] = (cos, sin)(positions[t] · inv_freq[i]) · attention_factor. Limited by operations: the C library's f64 sine
// and cosine, which reduce arguments of any size without loss. Done once for all layers.
#include <cmath>
#include <cstdint>

#include "halyard/ops/cpu/rows.h"
#include "halyard/ops/rope/kernels.h"

namespace halyard::ops {

void rope_angles_cpu(const CpuTile& t) {
  const auto& c = t.constants_as<RopeAnglesConstants>();
  const std::int32_t* positions = t.as<std::int32_t>(0);
  const double* inv_freq = t.as<double>(1);
  const double factor = c.attention_factor;
  for_each_row(t, c.rows, c.item_rows, [&](std::uint64_t r) {
    float* out = t.as<float>(2) + r * c.pairs * 2;
    for (std::uint64_t i = 0; i < c.pairs; ++i) {
      const double angle = positions[r] * inv_freq[i];
      out[2 * i] = static_cast<float>(std::cos(angle) * factor);
      out[2 * i + 1] = static_cast<float>(std::sin(angle) * factor);
    }
  });
}

}  // namespace halyard::ops
