#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/matmul/kernels.h"

namespace halyard::ops {

// Tiles, in rows. Weights of a tile at k = 8192 and the activations it meets lie in 1 MiB of L2 together, one
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

inline constexpr std::uint32_t fused_positions = 16;  // of a tile of fused kernels: the sums lie in the first cache

// All products are restartable; plain ones until the end of the tile where it has one position, else until its start.
// Work-items: rows × T.
template <Isa> void matmul_f32_cpu(const CpuTile&);
template <Isa> void matmul_f16_cpu(const CpuTile&);
template <Isa> void matmul_bf16_cpu(const CpuTile&);
template <Isa> void matmul_bf16_fast_cpu(const CpuTile&);     // scratch: the activations of a span in bf16
template <Isa> void matmul_affine_cpu(const CpuTile&);        // scratch: dequantised_rows × chunk floats
template <Isa> void matmul_affine4_fast_cpu(const CpuTile&);  // work-items: panels × T
template <Isa> void matmul_affine8_fast_cpu(const CpuTile&);
template <Isa> void pack_activations_cpu(const CpuTile&);  // work-items: groups × T
// The same of experts.
template <Isa> void experts_f32_cpu(const CpuTile&);
template <Isa> void experts_f16_cpu(const CpuTile&);
template <Isa> void experts_bf16_cpu(const CpuTile&);
template <Isa> void experts_bf16_fast_cpu(const CpuTile&);
template <Isa> void experts_affine_cpu(const CpuTile&);
template <Isa> void experts_affine4_fast_cpu(const CpuTile&);
template <Isa> void experts_affine8_fast_cpu(const CpuTile&);
// Work-items: groups of 32 rows × T. Scratch: the groups' 64 sums for each position of a tile.
template <Isa> void matmul_affine4_gated_pack_cpu(const CpuTile&);
template <Isa> void matmul_affine8_gated_pack_cpu(const CpuTile&);
// Work-items: heads × T. Scratch: a head for each position of a tile, and one more.
template <Isa> void matmul_affine4_heads_cpu(const CpuTile&);
template <Isa> void matmul_affine8_heads_cpu(const CpuTile&);

}  // namespace halyard::ops
