// Rows of a table.
#pragma once

#include "halyard/hal/encoder.h"
#include "halyard/ops/weight/weight.h"

namespace halyard::ops {

/// out[t] = table[ids[t]], dequantised to f32: the same values in whatever layout the table lies. ids: i32 [T]; out: f32 [T, k],
/// apart from ids and the table. An id outside the table makes the command buffer fail, naming the id.
Result<void> embedding(CommandEncoder&, const Buffer& ids, const Weight& table, const Buffer& out);

}  // namespace halyard::ops
