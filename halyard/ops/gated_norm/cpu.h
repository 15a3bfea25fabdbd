#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/gated_norm/kernels.h"

namespace halyard::ops {

template <Isa> void gated_norm_cpu(const CpuTile&);  ///< work-items: groups × rows

}  // namespace halyard::ops
