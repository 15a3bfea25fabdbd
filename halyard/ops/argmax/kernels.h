#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, out.
struct ArgmaxConstants {
  std::uint64_t rows, width;
};

namespace cpu {
extern const CpuForm argmax;
}

}  // namespace halyard::ops
