#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Of all kernels here. Bindings of rms_norm: x, weight, out; of layer_norm: x, weight, bias (or weight again), out.
/// Fused, with rms_norm's arguments: rms_norm_pack: x, weight, packed; add_rms_norm: a, b, weight, a + b, out.
struct NormConstants {
  std::uint64_t rows, width;
  float eps;
  DType weight, bias;  ///< dtypes; bias is read only where has_bias
  std::uint8_t has_bias;
};

namespace cpu {
extern const CpuForm rms_norm, layer_norm, rms_norm_pack, add_rms_norm;
}

}  // namespace halyard::ops
