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

/// Bindings: x, slots, pages.
struct KvAppendConstants {
  std::uint64_t rows;  ///< T · n_kv_heads
  Pages pages;
  DType cache;
};

/// Bindings: from, to, pages.
struct KvMoveConstants {
  std::uint64_t rows;  ///< n · n_kv_heads
  Pages pages;
  std::uint32_t row_bytes;
};

/// Bindings: q, k, v, spans, table, out.
struct AttentionConstants {
  std::uint64_t queries;  ///< rows of q
  std::uint64_t window;   ///< entries a query sees at most, its own included; may be more than there are
  Pages pages;
  std::uint32_t sequences, table_pages;  ///< S, M
  std::uint32_t n_heads;
  float scale;
  DType cache;
};

namespace cpu {
extern const CpuForm kv_append, kv_move, attention;
extern const CpuForm attention_pack;  ///< out packed, heads whole groups
}  // namespace cpu

}  // namespace halyard::ops
