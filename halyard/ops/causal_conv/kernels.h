#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, weight, bias or any, spans, from, to, state, out. Grid: blocks of conv_channels channels × sequences.
struct CausalConvConstants {
  std::uint64_t rows, channels, slots;
  std::uint32_t taps;      ///< K
  std::uint32_t has_bias;
};
inline constexpr std::size_t conv_channels = 64;

template <Isa> void causal_conv_cpu(const CpuTile&);

}  // namespace halyard::ops
