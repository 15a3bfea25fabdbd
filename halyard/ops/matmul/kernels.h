// What matmul.cc and its kernels share: arguments, the layouts they agree on, and the kernels' forms.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halyard/base/types.h"
#include "halyard/hal/kernel.h"
#include "halyard/ops/elementwise/kernels.h"
#include "halyard/ops/rope/kernels.h"
#include "halyard/quant/format.h"

namespace halyard::ops {

/// The constants of every product. Bindings: x f32 [T, k] (fast affine: PackedGroup [T, k/32]), weights, bias f32 [n] or any,
/// out f32 [T, n]; of exact affine ones: x, data, scales, biases, bias, out.
struct MatmulArgs {
  std::uint64_t positions = 0;  ///< T
  std::uint32_t n = 0, k = 0;
  std::uint32_t group = 0;        ///< affine: elements of a group
  std::uint8_t bits = 0;          ///< affine: of the source
  DType dtype = DType::f32;       ///< affine: of scales and biases
  std::uint8_t has_bias = 0;      ///< else the bias binding is a stand-in
  std::uint8_t accumulate = 0;    ///< out += instead of out =
};

/// 32 activations of one row: x ≈ scale · q. `sum` is scale · Σ q: with the rounded values' sum, the rounding of x meets
/// the whole weight s·q + b, not s·q alone, which for weights around zero is several times greater.
struct PackedGroup {
  std::int8_t q[32];
  float scale, sum;
};
static_assert(sizeof(PackedGroup) == 40);

// Fast affine weights. 16 rows are a panel, so that a register of 32-bit sums holds one for each row. A panel is a
// sequence of blocks, one for each group of the rows, streamed from first to last:
//   scales  16 × dtype     one for each row
//   biases  16 × dtype
//   data    for 4-bit: each 64 bytes hold 8 columns c: byte 4·row + i has q[row, c + i] low and q[row, c + 4 + i] high;
//           for 8-bit: each 64 bytes hold 4 columns c: byte 4·row + i is q[row, c + i].
// 2- and 3-bit weights are stored as 4-bit ones, 5 and 6 as 8. Rows beyond n are zeros.
inline constexpr std::size_t panel_rows = 16;
inline constexpr std::size_t panels_of(std::size_t n) { return (n + panel_rows - 1) / panel_rows; }
inline constexpr int panel_bits(int bits) { return bits <= 4 ? 4 : 8; }
inline std::size_t block_bytes(int bits, std::size_t group, DType dtype) {
  return panel_rows * (2 * size_of(dtype) + group * static_cast<std::size_t>(panel_bits(bits)) / 8);
}
inline std::size_t panel_bytes(const quant::MatrixView& m) {
  const auto group = static_cast<std::size_t>(m.group_size);
  return m.k / group * block_bytes(m.bits, group, m.dtype);
}
/// Writes panel `p` of an affine matrix.
void repack_panel(const quant::MatrixView&, std::size_t p, std::byte* out);

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

/// A product's kernels: out = …; out += …, which also reads it; and out = … with experts.
struct Product {
  KernelDef store, accumulate, experts;
};
extern const Product affine4_fast, affine8_fast;

}  // namespace halyard::ops
