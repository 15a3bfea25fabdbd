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

/// f of f(gate) · up.
enum class Gate : std::uint32_t { silu, gelu_exact, gelu_tanh };

// Fused.
template <Isa> void gelu_exact_mul_cpu(const CpuTile&);  ///< bindings: x, the other factor, out
template <Isa> void gelu_tanh_mul_cpu(const CpuTile&);
template <Isa> void gated_pack_cpu(const CpuTile&);      ///< bindings: gate, up, packed; constants: Gate; grid: groups

}  // namespace halyard::ops
