#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, gate, weight, out. Grid: groups × rows.
struct GatedNormConstants {
  std::uint64_t width;  ///< of a group
  float eps;
};

template <Isa> void gated_norm_cpu(const CpuTile&);

}  // namespace halyard::ops
