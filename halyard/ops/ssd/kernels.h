#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: xbc, dt, a, d, dt_bias, spans, from, to, state, out.
struct SsdConstants {
  std::uint64_t rows, slots;
  std::uint32_t heads, head_dim, groups, state;  ///< H, P, G, N
  float dt_min, dt_max;
};

namespace cpu {
extern const CpuForm ssd;
}

}  // namespace halyard::ops
