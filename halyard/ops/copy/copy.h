#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// dst = src, converted to dst's dtype (between f32, f16 and bf16, rounding to nearest even; else the same dtype).
/// The shapes hold equally many elements. dst is apart from src.
Result<void> copy(CommandEncoder&, const Buffer& src, const Buffer& dst);

/// out[i] = x[rows[i]]. x: f32 [T, K]; rows: i32 [n], each below T, or the command buffer fails; out: f32 [n, K], apart from
/// both.
Result<void> gather_rows(CommandEncoder&, const Buffer& x, const Buffer& rows, const Buffer& out);

}  // namespace halyard::ops
