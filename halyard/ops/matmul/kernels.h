// What matmul.cc and its kernels share: arguments, the layouts they agree on, and the kernels' names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halyard/base/types.h"
#include "halyard/hal/kernel.h"
#include "halyard/ops/elementwise/kernels.h"
#include "halyard/ops/rope/kernels.h"
#include "halyard/quant/format.h"

namespace halyard::ops {

/// The constants of every product. The grid is rows (or panels of them) by positions.
struct MatmulArgs {
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

// CPU tiles, in work-items. Weights of a tile at k = 8192 and the activations it meets lie in 1 MiB of L2 together, one
// row of activations (k = 2048) takes about 4 µs, and the smallest matrices still make eight tiles.
inline constexpr std::uint32_t tile_rows = 64;
inline constexpr std::uint32_t tile_positions = 48;

// The kernels of dense and exact products sum `chunk` columns lane by lane, then the lanes, then the chunks: the same
// order however many positions there are.
inline constexpr std::size_t chunk = 1024;
// Columns whose activations are converted at once: for one position, and for several.
inline constexpr std::size_t span_single = 64 * chunk;
inline constexpr std::size_t span_several = chunk;
// Exact affine: rows that are dequantised together.
inline constexpr std::size_t dequantised_rows = 4;

// All products are restartable; plain ones until the end of the tile where it has one position, else until its start.
// Bindings: x f32 [T, k] (fast affine: PackedGroup [T, k/32]), weights, bias f32 [n] or any, out f32 [T, n].
template <Isa> void matmul_f32_cpu(const CpuTile&);
template <Isa> void matmul_f16_cpu(const CpuTile&);
template <Isa> void matmul_bf16_cpu(const CpuTile&);
template <Isa> void matmul_bf16_fast_cpu(const CpuTile&);     // scratch: the activations of a span in bf16
template <Isa> void matmul_affine4_fast_cpu(const CpuTile&);  // grid: panels × T
template <Isa> void matmul_affine8_fast_cpu(const CpuTile&);
// Bindings: x, data, scales, biases, bias, out. Scratch: dequantised_rows × chunk floats.
template <Isa> void matmul_affine_cpu(const CpuTile&);
// Bindings: x f32 [T, k], PackedGroup [T, k/32]. Grid: groups × T.
template <Isa> void pack_activations_cpu(const CpuTile&);

/// packed = pack(f(gate · x) · (up · x)) in one go: the gated half of a feed-forward block. Bindings: x packed, gate, its
/// bias, up, its bias, packed. Grid: groups of 32 rows × T. Scratch: the groups' 64 sums for each position of a tile.
struct GatedArgs {
  MatmulArgs gate, up;
  Gate function;
};
template <Isa> void matmul_affine4_gated_pack_cpu(const CpuTile&);
template <Isa> void matmul_affine8_gated_pack_cpu(const CpuTile&);

/// A product whose rows are heads, and what they go through on their way to attention. Bindings: x packed, weights, bias,
/// norm's weight, cos_sin, slots (any, where there is no such step), out or pages. Grid: heads × T. Scratch: a head for each
/// position of a tile, and one more.
struct ProductHeadsArgs {
  MatmulArgs product;
  HeadConstants heads;
};
template <Isa> void matmul_affine4_heads_cpu(const CpuTile&);
template <Isa> void matmul_affine8_heads_cpu(const CpuTile&);

inline constexpr std::uint32_t fused_positions = 16;  // of a tile of these kernels: the sums lie in the first cache

/// A product's two forms: out = …, and out += …, which also reads it.
struct Product {
  KernelDef store, accumulate;
};
extern const Product affine4_fast, affine8_fast;

}  // namespace halyard::ops
