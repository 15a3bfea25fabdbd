#pragma once

#include "halyard/hal/encoder.h"
#include "halyard/ops/slot_batch.h"

namespace halyard::ops {

struct SsdOptions {
  std::size_t groups = 1;                    ///< G: heads that follow each other share B and C
  float dt_min = 0, dt_max = 3.4028235e38F;  ///< where softplus(dt + dt_bias) is cut
};
/// The state-space duality layer's recurrence (Dao and Gu 2024, Mamba 2). For each head h, its group g, in the rows' order:
///   δ = clamp(softplus(dt[t, h] + dt_bias[h])),  s = e^(δ·a[h]) · s + δ · x[t, h] ⊗ B[t, g],  out[t, h] = s · C[t, g] + d[h] · x[t, h].
/// xbc: f32 [T, H·P + 2·G·N], a row x [H, P], B [G, N] and C [G, N]; dt: f32 [T, H]; a, d, dt_bias: f32 [H]; state: f32
/// [slots, H, P, N]; out: f32 [T, H·P], apart from all else. Rows are taken one by one: the same bytes however they are cut into
/// steps. Rows of no sequence are undefined in out. A slot that is not there makes the command buffer fail.
Result<void> ssd(CommandEncoder&, const Buffer& xbc, const Buffer& dt, const Buffer& a, const Buffer& d,
                 const Buffer& dt_bias, const Buffer& state, const Buffer& out, const SlotBatch&, const SsdOptions&);

}  // namespace halyard::ops
