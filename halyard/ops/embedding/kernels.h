#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: ids i32, the table's, out.
struct EmbeddingArgs {
  std::uint64_t n = 0;
  std::uint32_t k = 0, group = 0;  ///< group: 0 for dense tables
  std::int32_t bits = 0;
  DType dtype = DType::f32;
};

namespace cpu {
extern const CpuForm embedding_dense, embedding_affine, embedding_panels;
}

}  // namespace halyard::ops
