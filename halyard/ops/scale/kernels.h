#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, out. One work-item does kItemElements elements.
struct ScaleConstants {
  std::uint64_t elements;
  float factor;
};

template <Isa> void scale_cpu(const CpuTile&);

}  // namespace halyard::ops
