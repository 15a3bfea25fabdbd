#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/softmax/kernels.h"

namespace halyard::ops {

template <Isa> void softmax_cpu(const CpuTile&);  ///< work-items: rows

}  // namespace halyard::ops
