#pragma once

#include "halyard/hal/kernel.h"
#include "halyard/ops/attention/kernels.h"
#include "halyard/ops/norm/kernels.h"

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

/// A head's way into the cache, or part of it: rms_norm, rope, kv_append. Scratch: a head.
struct RopeFusedConstants {
  RopeConstants rope;
  NormConstants norm;        ///< where normalised: rows are heads
  KvAppendConstants append;  ///< where appended
  std::uint32_t interleaved;
};
template <Isa> void norm_rope_cpu(const CpuTile&);         ///< bindings: x, weight, cos_sin, out
template <Isa> void rope_append_cpu(const CpuTile&);       ///< bindings: x, cos_sin, cache
template <Isa> void norm_rope_append_cpu(const CpuTile&);  ///< bindings: x, weight, cos_sin, cache

}  // namespace halyard::ops
