#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: the inputs, then out. One work-item does `item` elements.
struct ElementwiseConstants {
  std::uint64_t elements;
  std::uint64_t item;
};

template <Isa> void add_cpu(const CpuTile&);
template <Isa> void mul_cpu(const CpuTile&);
template <Isa> void silu_mul_cpu(const CpuTile&);
template <Isa> void gelu_exact_cpu(const CpuTile&);
template <Isa> void gelu_tanh_cpu(const CpuTile&);

}  // namespace halyard::ops
