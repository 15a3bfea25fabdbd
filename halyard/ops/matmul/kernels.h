// What matmul.cc and its kernels share: arguments, the form of packed activations, and the kernels' forms.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halyard/base/types.h"
#include "halyard/hal/kernel.h"
#include "halyard/ops/elementwise/kernels.h"
#include "halyard/ops/rope/kernels.h"
#include "halyard/ops/weight/panels.h"

namespace halyard::ops {

/// The constants of every product. Bindings: x f32 [T, k] (fast affine: PackedGroup [T, k/32]), weights, bias f32 [n] or any,
/// out f32 [T, n]; of exact affine ones: x, data, scales, biases, bias, out.
struct MatmulArgs {
  std::uint64_t positions = 0;  ///< T
  std::uint32_t n = 0, k = 0;
  std::uint32_t group = 0;      ///< affine: elements of a group
  std::uint8_t bits = 0;        ///< affine: of the source
  DType dtype = DType::f32;     ///< affine: of scales and biases
  std::uint8_t has_bias = 0;    ///< else the bias binding is a stand-in
  std::uint8_t accumulate = 0;  ///< out += instead of out =
};

/// 32 activations of one row: x ≈ scale · q. `sum` is scale · Σ q: with the rounded values' sum, the rounding of x meets
/// the whole weight s·q + b, not s·q alone, which for weights around zero is several times greater.
struct PackedGroup {
  std::int8_t q[32];
  float scale, sum;
};
static_assert(sizeof(PackedGroup) == 40);

/// Bindings: x f32 [T, k], PackedGroup [T, k/32].
struct PackConstants {
  std::uint64_t groups, rows;  ///< k/32, T
};

/// packed = pack(f(gate · x) · (up · x)) in one go: the gated half of a feed-forward block. Bindings: x packed, gate, its
/// bias, up, its bias, packed.
struct GatedArgs {
  MatmulArgs gate, up;
  Gate function;
};

/// A product whose rows are heads, and what they go through on their way to attention. Bindings: x packed, weights, bias,
/// norm's weight, cos_sin, slots (any, where there is no such step), out or pages.
struct ProductHeadsArgs {
  MatmulArgs product;
  HeadConstants heads;
};

/// Products of rows with experts, sorted by expert. Bindings as a product's, `starts` in bias's place.
struct ExpertArgs {
  MatmulArgs product;        ///< of one expert, positions all rows
  std::uint64_t strides[3];  ///< bytes from one expert to the next in each binding of weights
  std::uint32_t experts;
};

namespace cpu {
extern const CpuForm matmul_f32, matmul_f16, matmul_bf16, matmul_bf16_fast, matmul_affine;
extern const CpuForm matmul_affine4_fast, matmul_affine8_fast, pack_activations;
extern const CpuForm matmul_affine4_gated_pack, matmul_affine8_gated_pack, matmul_affine4_heads, matmul_affine8_heads;
extern const CpuForm experts_f32, experts_f16, experts_bf16, experts_bf16_fast, experts_affine, experts_affine4_fast,
    experts_affine8_fast;
}  // namespace cpu

}  // namespace halyard::ops
