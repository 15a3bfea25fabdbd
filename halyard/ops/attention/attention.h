// Causal attention over a KV cache.
#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

/// The plan parameter that the offsets of kv_append and attention are: positions cached before the first of the chunk.
inline constexpr std::string_view kOffsetParameter = "offset";

/// cache[h, offset + t, :] = x[t, h, :], converted to the cache's dtype. x: f32 [T, n_kv_heads, D]; cache: f32, f16 or
/// bf16 [n_kv_heads, capacity, D]; offset + T ≤ capacity. cache is apart from x.
Result<void> kv_append(CommandEncoder&, const Buffer& x, const Buffer& cache, std::size_t offset);

struct AttentionOptions {
  std::size_t offset = 0;  ///< cached positions before the first query: query t is at position offset + t
  float scale = 1;         ///< multiplies q·k, usually 1/√D
  std::size_t window = 0;  ///< 0: all earlier positions; W: position p sees p-W+1 … p
};
/// out[t, h] = Σ_j softmax_j(scale · q[t, h]·k[g, j]) v[g, j], g = h / (n_heads / n_kv_heads), over the positions j that
/// offset + t may see. q, out: f32 [T, n_heads, D]; k, v: f32, f16 or bf16 [n_kv_heads, capacity, D] (one dtype),
/// D ≤ 256, offset + T ≤ capacity. The sum for one query runs over fixed blocks of positions, so the result is the same
/// however a prompt is cut into chunks. `out` is apart from q, k and v.
Result<void> attention(CommandEncoder&, const Buffer& q, const Buffer& k, const Buffer& v, const Buffer& out,
                       const AttentionOptions&);

}  // namespace halyard::ops
