#pragma once

#include "halyard/hal/kernel.h"

namespace halyard::ops {

/// Bindings: logits, ids, weights.
struct ExpertChoiceConstants {
  std::uint64_t rows;
  std::uint32_t experts, chosen;  ///< E, k
  std::uint32_t normalise;
};
inline constexpr std::size_t most_experts = 4096;

/// Bindings: ids, rows, places, starts.
struct ExpertOrderConstants {
  std::uint64_t pairs;
  std::uint32_t experts, chosen;
};

/// Bindings: y, places, weights, out.
struct ExpertSumConstants {
  std::uint64_t rows, width;
  std::uint32_t chosen;
};

namespace cpu {
extern const CpuForm expert_choice, expert_order, expert_sum;
}

}  // namespace halyard::ops
