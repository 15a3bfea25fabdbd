#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/scale/kernels.h"

namespace halyard::ops {

template <Isa> void scale_cpu(const CpuTile&);  ///< work-items: elements

}  // namespace halyard::ops
