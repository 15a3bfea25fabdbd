#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Pages [n_pages, n_kv_heads, page, head_dim].
struct Pages {
  std::uint64_t slots;  ///< n_pages · page
  std::uint32_t n_kv_heads, page, head_dim;

  /// The first element of a slot's row.
  std::uint64_t element(std::uint64_t slot, std::uint64_t head) const {
    return ((slot / page * n_kv_heads + head) * page + slot % page) * head_dim;
  }
};

/// Bindings: x, slots, pages. One work-item does `item_rows` of the T · n_kv_heads rows of x.
struct KvAppendConstants {
  std::uint64_t rows, item_rows;
  Pages pages;
  DType cache;
};

/// Bindings: from, to, pages. One work-item does `item_rows` of the n · n_kv_heads rows.
struct KvMoveConstants {
  std::uint64_t rows, item_rows;
  Pages pages;
  std::uint32_t row_bytes;
};

/// Bindings: q, k, v, spans, table, out. Work-items: x, tiles of at most `tile_queries` queries of one sequence, the last
/// ones first, and some that have none; y, KV heads; z, tiles of `tile_heads` of the heads that share a KV head.
struct AttentionConstants {
  std::uint64_t queries;  ///< rows of q
  std::uint64_t window;   ///< entries a query sees at most, its own included; may be more than there are
  Pages pages;
  std::uint32_t sequences, table_pages;  ///< S, M
  std::uint32_t n_heads, tile_queries, tile_heads;
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
template <Isa> void kv_move_cpu(const CpuTile&);
template <Isa> void attention_cpu(const CpuTile&);
template <Isa> void attention_pack_cpu(const CpuTile&);  ///< out packed, heads whole groups

}  // namespace halyard::ops
