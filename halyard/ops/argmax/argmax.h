#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// The index of each row's greatest element, the first where several are equal; NaN counts as greater than all.
/// x: f32 [..., C]; out: i32 [...], apart from x.
Result<void> argmax(CommandEncoder&, const Buffer& x, const Buffer& out);

}  // namespace halyard::ops
