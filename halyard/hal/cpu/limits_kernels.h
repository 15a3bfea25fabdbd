// The loops that measure_cpu_limits times, one set for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halyard/hal/cpu/isa.h"

namespace halyard {

/// Does `rounds` rounds of multiply-adds in independent registers and returns the operations done (a multiply and an add
/// are two); 0 where the instruction set has no such instruction.
struct LimitLoops {
  double (*int8)(std::size_t rounds) = nullptr;
  double (*bf16)(std::size_t rounds) = nullptr;
  double (*f32)(std::size_t rounds) = nullptr;
  /// Reads all of `bytes` (a multiple of 4096) and returns something that depends on them: from first to last, or four
  /// parts side by side. Which is faster is the memory's business.
  std::uint64_t (*read[2])(const void* data, std::size_t bytes) = {};
};
template <Isa> LimitLoops limit_loops();

}  // namespace halyard
