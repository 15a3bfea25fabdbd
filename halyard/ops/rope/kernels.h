#pragma once

#include "halyard/hal/kernel.h"
#include "halyard/ops/attention/kernels.h"

namespace halyard::ops {

/// One work-item does `item_rows` positions of `pairs` angles.
struct RopeAnglesConstants {
  std::uint64_t rows, pairs, item_rows;
  float attention_factor;
};
/// One work-item does `item_rows` heads of `head_dim` elements.
struct RopeConstants {
  std::uint64_t rows, heads, head_dim, pairs, item_rows;
};

void rope_angles_cpu(const CpuTile&);                  ///< bindings: positions, inv_freq, cos_sin
template <Isa> void rope_half_split_cpu(const CpuTile&);   ///< bindings: x, cos_sin, out
template <Isa> void rope_interleaved_cpu(const CpuTile&);  ///< bindings: x, cos_sin, out

/// What heads go through on their way to attention, or part of it: rms_norm, rope, kv_append.
struct HeadConstants {
  std::uint64_t rows, item_rows;           ///< T · heads, and how many of them one work-item does
  std::uint64_t heads, head_dim, pairs;
  Pages pages;                             ///< append: as kv_append's
  float eps;
  DType weight, cache;                     ///< dtypes
  std::uint8_t norm, turn, append;         ///< which steps are taken
  std::uint8_t interleaved;
};
/// Bindings: x, norm's weight, rope's cos_sin, kv_append's slots (any, where there is no such step), out or pages.
/// Scratch: a head.
template <Isa> void heads_cpu(const CpuTile&);

}  // namespace halyard::ops
