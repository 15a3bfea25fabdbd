// Normalisation of rows. `out` may be x itself; it overlaps neither x otherwise nor weight or bias.
#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// out = x / sqrt(mean(x²) + eps) · weight, over the last axis (Zhang and Sennrich 2019). x, out: f32 [..., H];
/// weight: [H] f32, f16 or bf16. The rows may be heads: x [T, n_heads, D] with a weight of [D].
Result<void> rms_norm(CommandEncoder&, const Buffer& x, const Buffer& weight, const Buffer& out, float eps);

/// out = (x - mean(x)) / sqrt(var(x) + eps) · weight + bias, over the last axis (Ba et al. 2016), var the biased one.
/// x, out: f32 [..., H]; weight: [H] f32, f16 or bf16; bias: likewise, or a null Buffer for none.
Result<void> layer_norm(CommandEncoder&, const Buffer& x, const Buffer& weight, const Buffer& bias, const Buffer& out,
                        float eps);

}  // namespace halyard::ops
