#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, weight, bias or any, spans, from, to, state, out.
struct CausalConvConstants {
  std::uint64_t rows, channels, slots;
  std::uint32_t taps;  ///< K
  std::uint32_t has_bias;
};

namespace cpu {
extern const CpuForm causal_conv;
}

}  // namespace halyard::ops
