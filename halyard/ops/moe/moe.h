// Mixtures of experts: which experts a row goes to, the rows in the experts' order, and the sum of what comes back.
#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// The k experts of each row with the greatest softmax_e(logits[t, e]), the greatest first, of equals the first; weights: those
/// shares, with `normalise` divided by their sum. logits: f32 [T, E]; ids: i32 [T, k], k ≤ E ≤ 4096; weights: f32 [T, k]. What is not
/// a number is never chosen before what is. The router of Qwen 3 (Yang et al. 2025), whose norm_topk_prob is `normalise`.
Result<void> expert_choice(CommandEncoder&, const Buffer& logits, const Buffer& ids, const Buffer& weights,
                           bool normalise);

/// The T·k pairs of a row and its expert, sorted by expert, else in their order. ids: i32 [T, k], below E, or the command buffer
/// fails; rows: i32 [T·k], the row of each pair; places: i32 [T, k], where in the order each stands; starts: i32 [E + 1], where each
/// expert's begin.
Result<void> expert_order(CommandEncoder&, const Buffer& ids, const Buffer& rows, const Buffer& places,
                          const Buffer& starts);

/// out[t] = Σ_j weights[t, j] · y[places[t, j]]. y: f32 [T·k, H]; places: i32 [T, k], below T·k, or the command buffer fails,
/// k ≤ 4096; weights: f32 [T, k]; out: f32 [T, H], apart from all.
Result<void> expert_sum(CommandEncoder&, const Buffer& y, const Buffer& places, const Buffer& weights,
                        const Buffer& out);

}  // namespace halyard::ops
