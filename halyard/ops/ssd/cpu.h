#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/ssd/kernels.h"

namespace halyard::ops {

template <Isa> void ssd_cpu(const CpuTile&);  ///< work-items: heads × sequences

}  // namespace halyard::ops
