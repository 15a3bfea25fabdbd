#pragma once

#include "halyard/hal/kernel.h"
#include "halyard/ops/attention/kernels.h"

namespace halyard::ops {

/// Bindings: positions, inv_freq, cos_sin.
struct RopeAnglesConstants {
  std::uint64_t rows, pairs;
  float attention_factor;
};
/// Bindings: x, cos_sin, out.
struct RopeConstants {
  std::uint64_t rows, heads, head_dim, pairs;  ///< rows: T · heads
};

/// What heads go through on their way to attention, or part of it: rms_norm, rope, kv_append. Bindings: x, norm's weight,
/// rope's cos_sin, kv_append's slots (any, where there is no such step), out or pages.
struct HeadConstants {
  std::uint64_t rows, heads, head_dim, pairs;  ///< as rope's
  Pages pages;                                 ///< append: as kv_append's
  float eps;
  DType weight, cache;              ///< dtypes
  std::uint8_t norm, turn, append;  ///< which steps are taken
  std::uint8_t interleaved;
};

namespace cpu {
extern const CpuForm rope_angles, rope_half_split, rope_interleaved, heads;
}

}  // namespace halyard::ops
