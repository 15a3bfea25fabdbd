#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// out = x · factor. f32, any shape, both the same. `out` may be x itself, and overlaps it not otherwise.
Result<void> scale(CommandEncoder&, const Buffer& x, float factor, const Buffer& out);

}  // namespace halyard::ops
