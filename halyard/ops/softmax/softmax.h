#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// out = e^(x - max) / Σ e^(x - max) over the last axis. f32 [..., C]. An entry of -inf becomes 0; a row of nothing but
/// -inf, or with a NaN or +inf, becomes NaN where the formula does. `out` may be x itself,
/// and does not overlap it otherwise.
Result<void> softmax(CommandEncoder&, const Buffer& x, const Buffer& out);

}  // namespace halyard::ops
