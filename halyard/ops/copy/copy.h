#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// dst = src, converted to dst's dtype (between f32, f16 and bf16, rounding to nearest even; else the same dtype).
/// The shapes hold equally many elements. dst is apart from src.
Result<void> copy(CommandEncoder&, const Buffer& src, const Buffer& dst);

}  // namespace halyard::ops
