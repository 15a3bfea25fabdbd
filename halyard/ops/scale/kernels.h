#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, out.
struct ScaleConstants {
  std::uint64_t elements;
  float factor;
};

namespace cpu {
extern const CpuForm scale;
}

}  // namespace halyard::ops
