// Products with weight matrices.
#pragma once

#include "halyard/hal/encoder.h"
#include "halyard/ops/weight/weight.h"

namespace halyard::ops {

/// Bytes of the packed form of [t, k] activations.
std::size_t packed_bytes(std::size_t t, std::size_t k);
/// packed = x in int8 with an f32 scale and the sum of each group of 32 along k. x: f32 [T, k], k a multiple of 32;
/// packed: u8 [packed_bytes(T, k)], apart from x.
Result<void> pack_activations(CommandEncoder&, const Buffer& x, const Buffer& packed);

/// The left side of products: the activations, and their packed form where a weight wants it (else null).
struct Activations {
  Buffer x;       ///< f32 [T, k]
  Buffer packed;  ///< u8 [packed_bytes(T, k)] made by pack_activations from x, or null
};
struct MatmulOptions {
  Buffer bias = {};         ///< f32 [n] added to every row, or null
  bool accumulate = false;  ///< out += instead of out =
};
/// out[t, i] = Σ_j x[t, j] · w[i, j]. out: f32 [T, n], apart from x, packed, bias and the weight.
Result<void> matmul(CommandEncoder&, const Activations&, const Weight&, const Buffer& out, const MatmulOptions& = {});

/// The same where each row has an expert: out[p, i] = Σ_j x[p, j] · w[e, i, j], starts[e] ≤ p < starts[e + 1]. starts: i32 [E + 1],
/// ascending to at most the rows of x, or the command buffer fails; rows of no expert are undefined in out. out: f32 [T, n], apart
/// from all else.
Result<void> matmul_experts(CommandEncoder&, const Activations&, const Weight&, const Buffer& starts,
                            const Buffer& out);

}  // namespace halyard::ops
