#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/copy/kernels.h"

namespace halyard::ops {

template <Isa> void copy_cpu(const CpuTile&);  ///< work-items: elements

}  // namespace halyard::ops
