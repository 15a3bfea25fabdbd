// cos_sin[t, i] = (cos, sin)(positions[t] · inv_freq[i]) · attention_factor. Limited by operations: the C library's f64 sine
// and cosine, which reduce arguments of any size without loss. Done once for all layers.
#include "halyard/ops/rope/cpu.h"

#include <cmath>
#include <cstdint>

#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {
namespace {

// Work-items: positions.
void angles(const CpuTile& t) {
  const auto& c = t.constants_as<RopeAnglesConstants>();
  const std::int32_t* positions = t.as<std::int32_t>(0);
  const double* inv_freq = t.as<double>(1);
  const double factor = c.attention_factor;
  for (std::uint64_t r = t.x0; r < t.x1; ++r) {
    float* out = t.as<float>(2) + r * c.pairs * 2;
    for (std::uint64_t i = 0; i < c.pairs; ++i) {
      const double angle = positions[r] * inv_freq[i];
      out[2 * i] = static_cast<float>(std::cos(angle) * factor);
      out[2 * i + 1] = static_cast<float>(std::sin(angle) * factor);
    }
  }
}

Launch by_head(const LaunchInputs& in) {
  const auto c = in.arguments.as<RopeConstants>();
  return in_rows(c.rows, c.head_dim);
}

}  // namespace

const CpuForm rope_angles = {.select = cpu_form<angles>.select, .launch = [](const LaunchInputs& in) {
                               const auto c = in.arguments.as<RopeAnglesConstants>();
                               return in_rows(c.rows, 32 * c.pairs);  // a sine takes about as long as 32 elements
                             }};
const CpuForm rope_half_split = {.select = HALYARD_CPU_KERNEL(rope_half_split_cpu), .launch = by_head};
const CpuForm rope_interleaved = {.select = HALYARD_CPU_KERNEL(rope_interleaved_cpu), .launch = by_head};
const CpuForm heads = {.select = HALYARD_CPU_KERNEL(heads_cpu), .launch = [](const LaunchInputs& in) {
                         const auto c = in.arguments.as<HeadConstants>();
                         return in_rows(c.rows, c.head_dim, c.head_dim * sizeof(float));
                       }};

}  // namespace halyard::ops::cpu
