#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/norm/kernels.h"

namespace halyard::ops {

// Work-items: rows.
template <Isa> void rms_norm_cpu(const CpuTile&);
template <Isa> void layer_norm_cpu(const CpuTile&);
template <Isa> void rms_norm_pack_cpu(const CpuTile&);  ///< scratch: a row
template <Isa> void add_rms_norm_cpu(const CpuTile&);

}  // namespace halyard::ops
