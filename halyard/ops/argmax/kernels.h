#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// One work-item does `item_rows` rows of `width` elements.
struct ArgmaxConstants {
  std::uint64_t rows, width, item_rows;
};

template <Isa> void argmax_cpu(const CpuTile&);  ///< bindings: x, out

}  // namespace halyard::ops
