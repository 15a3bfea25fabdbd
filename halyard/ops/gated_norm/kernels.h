#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, gate, weight, out.
struct GatedNormConstants {
  std::uint64_t rows, groups, width;  ///< of a row; of a group
  float eps;
};

namespace cpu {
extern const CpuForm gated_norm;
}

}  // namespace halyard::ops
