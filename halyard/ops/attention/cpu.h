#pragma once

#include "halyard/hal/cpu/kernel.h"
#include "halyard/ops/attention/kernels.h"

namespace halyard::ops {

/// Scratch of an attention tile in f32; each begins at a multiple of 64 bytes. A row is one query of one head.
struct AttentionScratch {
  static constexpr std::size_t block = 64;  ///< positions whose scores are made at once
  static constexpr std::size_t span = 512;  ///< positions summed before they are added to the total

  std::size_t rows;   ///< queries · heads of the tile, rounded up to 16
  std::size_t width;  ///< head_dim, rounded up to 16

  std::size_t keys = 0;                         ///< [width, block]: the block's keys, turned
  std::size_t stage = keys + width * block;     ///< [block, width]: its keys or values as f32
  std::size_t queries = stage + block * width;  ///< [rows, width]
  std::size_t sums = queries + rows * width;    ///< [rows, width]: Σ weight · v of the span
  std::size_t totals = sums + rows * width;     ///< [rows, width]: of the spans before
  std::size_t weights = totals + rows * width;  ///< [rows, block]: scores, then weights, of the block
  std::size_t top = weights + rows * block;     ///< [rows]: the span's greatest score
  std::size_t new_top = top + rows;             ///< [rows]: with the block's
  std::size_t weight = new_top + rows;          ///< [rows]: Σ weight of the span
  std::size_t block_weight = weight + rows;     ///< [rows]: of the block
  std::size_t rescale = block_weight + rows;    ///< [rows]: e^(top - new_top)
  std::size_t total_top = rescale + rows;       ///< [rows]: of the spans before
  std::size_t total_weight = total_top + rows;  ///< [rows]: of the spans before
  std::size_t end = total_weight + rows;
};

inline AttentionScratch attention_scratch(std::size_t queries, std::size_t heads, std::size_t head_dim) {
  return {(queries * heads + 15) / 16 * 16, (head_dim + 15) / 16 * 16};
}

template <Isa> void kv_append_cpu(const CpuTile&);  ///< work-items: rows of x
template <Isa> void kv_move_cpu(const CpuTile&);    ///< work-items: rows
/// Work-items: x, places for queries; each tile has those of one sequence, the last ones first, and some tiles have none; y, KV
/// heads, one a tile; z, the heads that share a KV head. Scratch: an AttentionScratch.
template <Isa> void attention_cpu(const CpuTile&);
template <Isa> void attention_pack_cpu(const CpuTile&);

}  // namespace halyard::ops
