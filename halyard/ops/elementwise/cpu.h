#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/elementwise/kernels.h"

namespace halyard::ops {

// Work-items: elements.
template <Isa> void add_cpu(const CpuTile&);
template <Isa> void mul_cpu(const CpuTile&);
template <Isa> void silu_mul_cpu(const CpuTile&);
template <Isa> void gelu_exact_cpu(const CpuTile&);
template <Isa> void gelu_tanh_cpu(const CpuTile&);
template <Isa> void gelu_exact_mul_cpu(const CpuTile&);
template <Isa> void gelu_tanh_mul_cpu(const CpuTile&);
template <Isa> void gated_pack_cpu(const CpuTile&);  ///< work-items: groups

}  // namespace halyard::ops
