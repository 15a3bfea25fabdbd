#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/argmax/kernels.h"

namespace halyard::ops {

template <Isa> void argmax_cpu(const CpuTile&);  ///< work-items: rows

}  // namespace halyard::ops
