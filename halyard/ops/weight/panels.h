// The layout of fast affine weights on CPUs. 16 rows are a panel, so that a register of 32-bit sums holds one for each row. A
// panel is a sequence of blocks, one for each group of the rows, streamed from first to last:
//   scales  16 × dtype     one for each row
//   biases  16 × dtype
//   data    for 4-bit: each 64 bytes hold 8 columns c: byte 4·row + i has q[row, c + i] low and q[row, c + 4 + i] high;
//           for 8-bit: each 64 bytes hold 4 columns c: byte 4·row + i is q[row, c + i].
// 2- and 3-bit weights are stored as 4-bit ones, 5 and 6 as 8. Rows beyond n are zeros.
#pragma once

#include <cstddef>
#include <span>

#include "halyard/base/types.h"
#include "halyard/quant/format.h"

namespace halyard::ops {

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
/// Writes panel `p` of an affine matrix into zeros.
void repack_panel(const quant::MatrixView&, std::size_t p, std::byte* out);
/// A row of such panels as f32: what quant::decode_row makes of it.
void decode_panel_row(const std::byte* panels, int bits, std::size_t group, DType, std::size_t row,
                      std::span<float> out);

}  // namespace halyard::ops
