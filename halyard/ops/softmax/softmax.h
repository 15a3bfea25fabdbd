#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// out = e^(x - max) / Σ e^(x - max) over the last axis. f32 [..., C].
Result<void> softmax(CommandEncoder&, const Buffer& x, const Buffer& out);

}  // namespace halyard::ops
