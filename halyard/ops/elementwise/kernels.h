#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: the inputs, then out.
struct ElementwiseConstants {
  std::uint64_t elements;
};

/// f of f(gate) · up.
enum class Gate : std::uint32_t { silu, gelu_exact, gelu_tanh };
/// packed = pack(f(gate) · up). Bindings: gate, up, packed.
struct GatedPackConstants {
  std::uint64_t groups;  ///< of 32 elements
  Gate gate;
};

namespace cpu {
extern const CpuForm add, mul, silu_mul, gelu_exact, gelu_tanh;
extern const CpuForm gelu_exact_mul, gelu_tanh_mul;  ///< fused; bindings: x, the other factor, out
extern const CpuForm gated_pack;
}  // namespace cpu

}  // namespace halyard::ops
