#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/rope/kernels.h"

namespace halyard::ops {

// Work-items: heads.
template <Isa> void rope_half_split_cpu(const CpuTile&);
template <Isa> void rope_interleaved_cpu(const CpuTile&);
template <Isa> void heads_cpu(const CpuTile&);  ///< scratch: a head

}  // namespace halyard::ops
