#pragma once

#include "halyard/hal/encoder.h"
#include "halyard/ops/slot_batch.h"

namespace halyard::ops {

/// out[t, c] = silu(bias[c] + Σ_k weight[k, c] · x[t - K + 1 + k, c]), rows before a sequence's first those of its state: a
/// depthwise convolution over time, as before Mamba's recurrence (Gu and Dao 2023). x, out: f32 [T, C], apart; weight: f32
/// [K, C], K ≤ 64; bias: f32 [C] or null; state: f32 [slots, K - 1, C], the last K - 1 rows seen. Rows of no sequence are
/// undefined in out. A slot that is not there makes the command buffer fail.
Result<void> causal_conv(CommandEncoder&, const Buffer& x, const Buffer& weight, const Buffer& bias,
                         const Buffer& state, const Buffer& out, const SlotBatch&);

}  // namespace halyard::ops
