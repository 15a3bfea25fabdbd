#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: x, out.
struct SoftmaxConstants {
  std::uint64_t rows, width;
};

namespace cpu {
extern const CpuForm softmax;
}

}  // namespace halyard::ops
