#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// y = x · silu(gate); out = y / sqrt(mean(y²) + eps) · weight, the mean over each of `groups` equal parts of a row by itself
/// (Dao and Gu 2024). x, gate, out: f32 [T, H]; weight: f32 [H]. `out` may be x or gate, and overlaps neither otherwise, nor weight.
Result<void> gated_norm(CommandEncoder&, const Buffer& x, const Buffer& gate, const Buffer& weight, const Buffer& out,
                        float eps, std::size_t groups);

}  // namespace halyard::ops
