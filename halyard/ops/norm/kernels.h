#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// One work-item does `item_rows` rows of `width` elements.
struct NormConstants {
  std::uint64_t rows, width, item_rows;
  float eps;
  DType weight, bias;       ///< dtypes; bias is read only where has_bias
  std::uint8_t has_bias;
};

template <Isa> void rms_norm_cpu(const CpuTile&);    ///< bindings: x, weight, out
template <Isa> void layer_norm_cpu(const CpuTile&);  ///< bindings: x, weight, bias (or weight again), out

// Fused, with rms_norm's constants.
template <Isa> void rms_norm_pack_cpu(const CpuTile&);  ///< bindings: x, weight, packed; scratch: a row
template <Isa> void add_rms_norm_cpu(const CpuTile&);   ///< bindings: a, b, weight, a + b, out

}  // namespace halyard::ops
