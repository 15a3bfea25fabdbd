// Packing 32 activations, for the kernels that end in it. Only *.isa.cc files include this; everything has internal linkage,
// as in ops/cpu/simd.h.
#pragma once

#include "halyard/ops/matmul/kernels.h"

namespace halyard::ops {
namespace {

// x ≈ scale · q with scale = max|x| / 127. Magnitudes are compared as integers, in which order a NaN is the greatest: a group
// that is not finite gets a NaN as its scale. Below 127 / FLT_MAX all values round to zero.
inline void pack(const float* x, PackedGroup& out) {
  std::uint32_t greatest = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[i]) & 0x7fffffffU;
    greatest = magnitude > greatest ? magnitude : greatest;
  }
  const float magnitude = __builtin_bit_cast(float, greatest);
  const bool finite = greatest < 0x7f800000U;
  const float inverse = finite && magnitude > 127.0F / __FLT_MAX__ ? 127.0F / magnitude : 0.0F;
  // Adding 1.5 · 2^23 leaves the nearest integer, ties to even, in the low bits.
  constexpr float to_integer = 12582912.0F;
  int total = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    const int q =
        finite ? __builtin_bit_cast(int, x[i] * inverse + to_integer) - __builtin_bit_cast(int, to_integer) : 0;
    out.q[i] = static_cast<std::int8_t>(q);
    total += q;
  }
  out.scale = finite ? magnitude / 127.0F : __builtin_nanf("");
  out.sum = out.scale * static_cast<float>(total);
}

/// A row of `groups` · 32.
inline void pack_row(const float* x, PackedGroup* out, std::size_t groups) {
  for (std::size_t g = 0; g < groups; ++g) pack(x + 32 * g, out[g]);
}

}  // namespace
}  // namespace halyard::ops
