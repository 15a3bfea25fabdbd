#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: src, dst. One work-item does `item` elements.
struct CopyConstants {
  std::uint64_t elements, item;
  DType from, to;
  std::uint8_t element_size;  ///< bytes, where from and to are one dtype
};

template <Isa> void copy_cpu(const CpuTile&);

}  // namespace halyard::ops
