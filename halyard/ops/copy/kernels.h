#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: src, dst.
struct CopyConstants {
  std::uint64_t elements;
  DType from, to;
  std::uint8_t element_size;  ///< bytes, where from and to are one dtype
};

/// Bindings: x, rows, out.
struct GatherConstants {
  std::uint64_t rows, row_bytes, n;  ///< of x; of both; of out
};

namespace cpu {
extern const CpuForm copy, gather_rows;
}

}  // namespace halyard::ops
