#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, cache. One work-item does `item_rows` of the T · n_kv_heads rows of x.
struct KvAppendConstants {
  std::uint64_t offset, capacity, rows, item_rows;
  std::uint64_t n_kv_heads, head_dim;
  DType cache;
};

/// Bindings: q, k, v, out. Work-items: x, tiles of `tile_queries` queries, the last ones first; y, KV heads; z, tiles of
/// `tile_heads` of the heads that share a KV head.
struct AttentionConstants {
  std::uint64_t offset, capacity, queries;
  std::uint64_t window;  ///< positions a query sees at most, its own included; may be more than there are
  std::uint64_t n_heads, n_kv_heads;
  std::uint32_t head_dim, tile_queries, tile_heads;
  float scale;
  DType cache;
};

/// Scratch of an attention tile in f32; each begins at a multiple of 64 bytes. A row is one query of one head.
struct AttentionScratch {
  static constexpr std::size_t block = 64;  ///< positions whose scores are made at once
  static constexpr std::size_t span = 512;  ///< positions summed before they are added to the total

  std::size_t rows;   ///< tile_queries · tile_heads, rounded up to 16
  std::size_t width;  ///< head_dim, rounded up to 16

  std::size_t keys = 0;                                  ///< [width, block]: the block's keys, turned
  std::size_t stage = keys + width * block;              ///< [block, width]: its keys or values as f32
  std::size_t queries = stage + block * width;           ///< [rows, width]
  std::size_t sums = queries + rows * width;             ///< [rows, width]: Σ weight · v of the span
  std::size_t totals = sums + rows * width;              ///< [rows, width]: of the spans before
  std::size_t weights = totals + rows * width;           ///< [rows, block]: scores, then weights, of the block
  std::size_t top = weights + rows * block;              ///< [rows]: the span's greatest score
  std::size_t new_top = top + rows;                      ///< [rows]: with the block's
  std::size_t weight = new_top + rows;                   ///< [rows]: Σ weight of the span
  std::size_t block_weight = weight + rows;              ///< [rows]: of the block
  std::size_t rescale = block_weight + rows;             ///< [rows]: e^(top - new_top)
  std::size_t total_top = rescale + rows;                ///< [rows]: of the spans before
  std::size_t total_weight = total_top + rows;           ///< [rows]: of the spans before
  std::size_t end = total_weight + rows;
};

template <Isa> void kv_append_cpu(const CpuTile&);
template <Isa> void attention_cpu(const CpuTile&);
template <Isa> void attention_pack_cpu(const CpuTile&);  ///< out packed, heads whole groups

}  // namespace halyard::ops
