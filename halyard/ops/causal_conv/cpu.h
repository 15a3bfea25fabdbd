#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/causal_conv/kernels.h"

namespace halyard::ops {

template <Isa> void causal_conv_cpu(const CpuTile&);  ///< work-items: channels × sequences

}  // namespace halyard::ops
