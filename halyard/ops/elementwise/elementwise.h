// Element by element. `out` may be an input itself, and overlaps none otherwise.
#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// out = a + b. f32, any shape, all the same.
Result<void> add(CommandEncoder&, const Buffer& a, const Buffer& b, const Buffer& out);
/// out = a · b. f32, any shape, all the same.
Result<void> mul(CommandEncoder&, const Buffer& a, const Buffer& b, const Buffer& out);
/// out = silu(gate) · up, silu(x) = x / (1 + e^-x). f32, any shape, all the same.
Result<void> silu_mul(CommandEncoder&, const Buffer& gate, const Buffer& up, const Buffer& out);

enum class Gelu : std::uint32_t {
  exact,  ///< x · Φ(x) = x/2 · (1 + erf(x/√2))
  tanh,   ///< x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))
};
/// out = gelu(x). f32, any shape, both the same.
Result<void> gelu(CommandEncoder&, const Buffer& x, const Buffer& out, Gelu);

}  // namespace halyard::ops
