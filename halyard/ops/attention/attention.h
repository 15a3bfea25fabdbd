// Causal attention over keys and values that lie in pages.
#pragma once

#include "halyard/hal/encoder.h"

namespace halyard::ops {

// Keys and values of earlier positions lie in pages, [n_pages, n_kv_heads, page, D]: f32, f16 or bf16, `page` positions
// each, a multiple of kPageUnit. Which rows of a step belong to which sequence, and where their past lies, is data that
// kernels read: one recording serves any sequences of any lengths. A place outside the pages makes the command buffer fail.

/// Positions that attention takes at once: pages are a multiple of it, so that sums do not depend on where pages lie.
inline constexpr std::size_t kPageUnit = 64;

/// pages[s / page, h, s % page, :] = x[t, h, :], converted to the pages' dtype, s = slots[t]; nothing where slots[t] is -1.
/// x: f32 [T, n_kv_heads, D]; slots: i32 [T], no two alike. pages is apart from x and slots.
Result<void> kv_append(CommandEncoder&, const Buffer& x, const Buffer& pages, const Buffer& slots);

/// pages[to[i]] = pages[from[i]], slots as kv_append's, all heads. from, to: i32 [n]; no slot is in `to` twice or in both.
/// Pairs in which either is -1 are left out.
Result<void> kv_move(CommandEncoder&, const Buffer& pages, const Buffer& from, const Buffer& to);

/// Which rows of a step are whose, and where their past lies.
struct KvBatch {
  /// i32 [S, 4], a row a sequence: its first row of the step; its rows, which follow each other; entries held before
  /// them; the most entries that a row sees, itself included (0: as many as there are).
  Buffer spans;
  Buffer table;  ///< i32 [S, M]: entry e of sequence s lies in page table[s, e / page], as its entry e % page
};
struct AttentionOptions {
  float scale = 1;         ///< multiplies q·k, usually 1/√D
  std::size_t window = 0;  ///< 0: all entries before; W: entry p sees p-W+1 … p
};
/// out[t, h] = Σ_j softmax_j(scale · q[t, h]·k[j, g]) v[j, g], g = h / (n_heads / n_kv_heads), over the entries j of t's
/// sequence up to t's own. q, out: f32 [T, n_heads, D], D ≤ 256; k, v: pages of one dtype and shape. Rows of no sequence are
/// undefined in out. The sum for one row runs over fixed blocks of entries: the same bytes however a prompt is cut into
/// steps, whatever else is in a step, and wherever its pages lie. `out` is apart from all else.
Result<void> attention(CommandEncoder&, const Buffer& q, const Buffer& k, const Buffer& v, const Buffer& out,
                       const KvBatch&, const AttentionOptions&);

}  // namespace halyard::ops
