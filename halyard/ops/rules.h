// The rules of each op, and what they are written with.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "halyard/hal/passes.h"

namespace halyard::ops {

using Parts = std::span<const Record>;
using Fused = std::optional<FusedDispatch>;

/// A record's constants, which are a T.
template <class T>
T constants_of(const Record& r) {
  T value;
  std::memcpy(&value, r.constants, sizeof value);
  return value;
}

std::vector<FusionRule> norm_rules();         ///< rms_norm → pack, add → rms_norm
std::vector<FusionRule> elementwise_rules();  ///< gelu → mul, silu_mul or gelu·mul → pack
std::vector<FusionRule> rope_rules();         ///< rms_norm → rope, rope → kv_append
std::vector<FusionRule> attention_rules();    ///< attention → pack
std::vector<FusionRule> matmul_rules();       ///< product → add, gate and up → silu_mul → pack

}  // namespace halyard::ops
